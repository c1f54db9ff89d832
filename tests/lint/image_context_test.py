#!/usr/bin/env python3
"""The Dockerfile copies all that a configuration reads, and the image's tag changes with all that it copies."""
import pathlib
import re
import shutil
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
copied = []
for line in (ROOT / "deploy/Dockerfile").read_text().splitlines():
    if line.startswith("COPY ") and "--from" not in line:
        copied += line.split()[1:-1]

text = (ROOT / "src/cloud/image_tag.cc").read_text()
inputs = re.findall(r'"([^"]+)"', re.search(r"kImageInputs = \{(.*?)\};", text, re.S)[1])
assert sorted(inputs) == sorted([*copied, "deploy/Dockerfile"]), f"tag: {sorted(inputs)}\ncopied: {sorted(copied)}"

with tempfile.TemporaryDirectory(prefix="commissure-image-") as folder:
    context = pathlib.Path(folder)
    for name in copied:
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, context / name, ignore=shutil.ignore_patterns("target", "__pycache__"))
        else:
            shutil.copy(ROOT / name, context / name)
    done = subprocess.run(["cmake", "--preset", "release", "-DBUILD_TESTING=OFF"], cwd=context, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    build = next(context.glob("build/*/build.ninja")).parent
    done = subprocess.run(["ninja", "-C", build, "-n", "commissure_program"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
print(f"image context: {len(copied)} paths are enough")
