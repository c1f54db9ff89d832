#!/usr/bin/env python3
"""Sources that configuring fetches (cmake/fetch_source.py): unpacked once from an archive of the right hash, no file outside its folder, and a clear word where they cannot be had."""
import hashlib
import io
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


def fetch(cache, sha256):
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    return subprocess.run([sys.executable, ROOT / "cmake/fetch_source.py", "thing", "1.0", sha256], env=environment, text=True, capture_output=True)


def archive(*names):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as out:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 2
            out.addfile(member, io.BytesIO(b"x\n"))
    return packed.getvalue()


with tempfile.TemporaryDirectory() as folder:
    cache = pathlib.Path(folder)
    data = archive("thing-1.0/cpp/a.cc", "thing-1.0/../../out", "/thing-1.0/b", "readme")
    sha256 = hashlib.sha256(data).hexdigest()

    absent = fetch(cache, sha256)
    assert absent.returncode == 1 and "thing 1.0 could not be fetched" in absent.stderr and not absent.stdout, absent

    kept = cache / "commissure/sources"
    (kept / "thing-1.0.tar.gz").write_bytes(data + b"changed")
    changed = fetch(cache, sha256)
    assert changed.returncode == 1 and not [path for path in kept.iterdir() if path.is_dir()], changed

    (kept / "thing-1.0.tar.gz").write_bytes(data)
    for _ in range(2):
        good = fetch(cache, sha256)
        assert good.returncode == 0, good
        sources = pathlib.Path(good.stdout.strip())
        assert [path.relative_to(sources).as_posix() for path in sorted(sources.rglob("*")) if path.is_file()] == ["cpp/a.cc"], list(sources.rglob("*"))
    assert not (cache / "commissure/out").exists() and not (kept / "out").exists()

# The words that a build without them ends with name every way out.
text = (ROOT / "cmake/XGrammar.cmake").read_text()
assert all(way in text for way in ("COMMISSURE_XGRAMMAR_SOURCE", "COMMISSURE_GRAMMAR=OFF")), "cmake/XGrammar.cmake"
print("fetched sources: ok")
