#!/usr/bin/env python3
"""The web page in a real browser, on a chain of three stages of which one is killed while an answer streams. Screenshots stay in build/web-pictures."""
import os
import pathlib
import shutil
import signal
import subprocess
import sys

from harness import PROGRAM, ROOT, SMOL, Chain, need, wait_until

need(SMOL)
build = pathlib.Path(PROGRAM).resolve().parents[2]
modules = pathlib.Path(PROGRAM).resolve().parents[1] / "web/source/node_modules"
chromium = shutil.which("chromium")
if not (modules.parents[1] / "packed").is_dir() or chromium is None:
    print("SKIPPED: this program was built without the web page, or chromium is absent")
    sys.exit(77)
node = subprocess.run([ROOT / "tools/fetch_node.sh", "--fetch"], capture_output=True, text=True, check=True).stdout.strip()
pictures = build / "web-pictures"
pictures.mkdir(exist_ok=True)
KEY = "a-key-of-the-page"


def serves_again(chain, pid):
    stages = {stage["name"]: stage["pid"] for stage in chain.state()["stages"]}
    return stages["b"] != pid


with Chain(SMOL, stages=3, environment={"COMMISSURE_API_KEY": KEY}) as chain:
    # Beside the modules, as imports are looked for from there.
    script = modules.parent / "tests/page.mjs"
    shutil.copy(ROOT / "web/tests/page.mjs", script)
    visit = subprocess.Popen([f"{node}/node", script, f"http://127.0.0.1:{chain.port}/", chromium, str(pictures), KEY], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PATH": f"{node}:{os.environ['PATH']}"})
    try:
        first = visit.stdout.readline().strip()
        if first == "KILL":
            pid = next(stage["pid"] for stage in chain.state()["stages"] if stage["name"] == "b")
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: serves_again(chain, pid), 30, "the supervisor starts stage b again")
        out, err = visit.communicate("killed\n", timeout=240)
    finally:
        visit.kill()
    assert visit.returncode == 0 and "DONE" in out, f"{first}\n{out}\n{err}"
print("a person's visit: key, answers, versions, stop, reload, a killed stage, hostile text, keyboard, dashboard, telephone")
