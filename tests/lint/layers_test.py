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
        "src/LAYERS": "core:\nstep: core\nwire: core step api\napi: core\napi/deep: core\ncommands: core step wire\n",
        "src/core/a.h": '#include "step/b.h"\n',
        "src/step/b.h": "#include <grpcpp/grpcpp.h>\n",
        "src/step/b_test.cc": '#include "core/a.h"\n#include "support/fake.h"\n',
        "src/wire/c.h": '#include "core/a.h"\n#include <grpcpp/grpcpp.h>\n#include "support/fake.h"\n',
        "src/api/deep/d.h": '#include "api/e.h"\n',
        "src/api/deeper/f.h": "",
        "src/commands/d.cc": '#include "wire/c.h"\n',
        "src/commands/d_test.cc": '#include "api/deep/d.h"\n',
        "src/attic/e.h": "",
    }.items():
        (toy / name).parent.mkdir(parents=True, exist_ok=True)
        (toy / name).write_text(text)
    found = check(toy)
    expected = [
        "src/LAYERS:3: wire is granted api, which has no line above this one",
        "api/deep may not include api",
        "folder api/deeper is not in src/LAYERS",
        "folder attic is not in src/LAYERS",
        "core may not include step",
        "<grpcpp/grpcpp.h> belongs to wire",
        "only tests may include tests/support",
    ]
    assert len(found) == len(expected), found
    for words in expected:
        assert any(words in line for line in found), (words, found)
print("layers: 2 checks passed")
