#!/usr/bin/env python3
"""The web page's own checks: types, ESLint, Prettier, Vitest. usage: web_test.py FOLDER, where the build has a copy of web/ with its packages."""
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
source = pathlib.Path(sys.argv[1]) / "source"
if not (source.parent / "packed").is_dir():
    print("SKIPPED: this program was built without the web page")
    sys.exit(77)
node = subprocess.run([ROOT / "tools/fetch_node.sh", "--fetch"], capture_output=True, text=True, check=True).stdout.strip()
environment = {**os.environ, "PATH": f"{node}:{os.environ['PATH']}", "CI": "1"}
for tool in (["typescript/bin/tsc", "--noEmit"], ["eslint/bin/eslint.js", "."], ["prettier/bin/prettier.cjs", "--check", "."], ["vitest/vitest.mjs", "run"]):
    done = subprocess.run([f"{node}/node", f"node_modules/{tool[0]}", *tool[1:]], cwd=source, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{tool}\n{done.stdout}\n{done.stderr}"
print("web: types, ESLint, Prettier, Vitest")
