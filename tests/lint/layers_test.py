#!/usr/bin/env python3
"""The layer check is clean on this tree, and finds each kind of violation on a toy tree."""
import pathlib
import sys
import tempfile

root = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(root / "tools"))
from check_layers import check  # noqa: E402

errors = check(root)
assert not errors, "\n".join(errors)

with tempfile.TemporaryDirectory() as folder:
    toy = pathlib.Path(folder)
    for name, text in {
        "src/LAYERS": "core:\nstep: core\nwire: core step\napps: *\n",
        "src/core/a.h": '#include "step/b.h"\n',
        "src/step/b.h": "#include <grpcpp/grpcpp.h>\n",
        "src/wire/c.h": '#include "core/a.h"\n#include <grpcpp/grpcpp.h>\n',
        "src/apps/d.cc": '#include "wire/c.h"\n',
        "src/attic/e.h": "",
    }.items():
        (toy / name).parent.mkdir(parents=True, exist_ok=True)
        (toy / name).write_text(text)
    found = check(toy)
    assert len(found) == 3, found
    assert "core may not include step" in found[1] or "core may not include step" in found[0] or "core may not include step" in found[2]
    assert any("belongs to wire" in line for line in found), found
    assert any("not in src/LAYERS" in line for line in found), found
print("layers: 2 checks passed")
