#!/usr/bin/env python3
"""Configuring fetches the compiler for GPU kernels only where COMMISSURE_CUDA=on, and ends where that fails."""
import pathlib
import shutil
import subprocess
import tempfile

CUDA = pathlib.Path(__file__).resolve().parents[2] / "cmake/Cuda.cmake"
SCRIPT = "#!/bin/sh\necho \"$1\" >> \"$(dirname \"$0\")/asked\"\necho 'it said why' >&2\nexit 1\n"


def configure(choice: str, has_script: bool) -> tuple[int, str, list[str]]:
    """Exit status and words of looking for the compiler, and what the script was asked."""
    root = pathlib.Path(tempfile.mkdtemp())
    try:
        (root / "tools").mkdir()
        if has_script:
            script = root / "tools/fetch_nvrtc.sh"
            script.write_text(SCRIPT)
            script.chmod(0o755)
        (root / "look.cmake").write_text(f'include({CUDA})\ncommissure_find_nvrtc(found)\nmessage(STATUS "found <${{found}}>")\n')
        done = subprocess.run(["cmake", f"-DPROJECT_SOURCE_DIR={root}", f"-DCOMMISSURE_CUDA={choice}", "-P", root / "look.cmake"],
                              capture_output=True, text=True, timeout=60)
        asked = root / "tools/asked"
        return done.returncode, done.stdout + done.stderr, asked.read_text().split() if asked.exists() else []
    finally:
        shutil.rmtree(root)


status, words, asked = configure("auto", True)
assert status == 0 and asked == ["--where"] and "it said why" in words and "found <>" in words, (status, words, asked)
status, words, asked = configure("on", True)
assert status != 0 and asked == ["--fetch"] and "it said why" in words, (status, words, asked)
status, words, asked = configure("auto", False)
assert status == 0 and "found <>" in words, (status, words)
status, words, asked = configure("on", False)
assert status != 0 and "fetch_nvrtc.sh" in words, (status, words)
status, words, asked = configure("ON", True)
assert status != 0 and asked == ["--fetch"], (status, words, asked)
status, words, asked = configure("OFF", False)
assert status == 0, (status, words)
for wrong in ("yes", "1", ""):
    status, words, asked = configure(wrong, True)
    assert status != 0 and not asked and "on, off or auto" in words, (wrong, status, words)
print("cuda configure: fetches only where it is asked to")
