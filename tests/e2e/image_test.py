#!/usr/bin/env python3
"""The real image of this source tree: not root, no shell, below 150 MB, and three stages of it answer; then with the model baked in.

Building it compiles everything once more on a bare Debian 12, 10 to 40 minutes. So a test run takes the image that `make try-image` left, if
it is of this very source tree, and COMMISSURE_TEST_IMAGE=1 builds it.
"""
import os
import shutil
import subprocess
import sys

from harness import ROOT, SMOL, free_port, need

need(SMOL)
SCRIPT = ROOT / "tools/try_image.sh"


def skip(why):
    print(f"SKIPPED: {why}: the image is NOT built and started here")
    sys.exit(77)


def attempt(*arguments):
    done = subprocess.run([SCRIPT, *arguments], env={**os.environ, "PORT": str(free_port())}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout[-2000:])
    assert done.returncode == 0, arguments
    assert " MB, " in done.stdout and "answer: " in done.stdout and "Paris" in done.stdout, done.stdout[-2000:]


for program in ("buildah", "debootstrap"):
    if shutil.which(program) is None:
        skip(f"{program} is absent (apt-get install buildah debootstrap)")
if os.geteuid() != 0:
    skip("buildah needs root for it")
is_built = subprocess.run([SCRIPT, "--is-built"]).returncode == 0
if not is_built and os.environ.get("COMMISSURE_TEST_IMAGE") != "1":
    skip("no image of this source tree is there, and building one takes 10 to 40 minutes (`make try-image`, or COMMISSURE_TEST_IMAGE=1)")
attempt(SMOL, *(["localhost/commissure"] if is_built else []))
attempt("--baked", SMOL, "localhost/commissure")
print("image: ok")
