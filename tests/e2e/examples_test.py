#!/usr/bin/env python3
"""The shell example runs as it stands: two stages by hand through the environment contract, one answer."""
import os
import subprocess

from harness import PROGRAM, ROOT, SMOL, free_port, need

need(SMOL)
while True:  # two neighbouring free ports
    port = free_port()
    if port < 65000:
        break
done = subprocess.run([ROOT / "examples/two_stages_local.sh", str(SMOL), str(port)], capture_output=True, text=True, timeout=120,
                      env={**os.environ, "COMMISSURE_PROGRAM": str(PROGRAM)})
assert done.returncode == 0 and done.stdout.strip(), (done.returncode, done.stdout, done.stderr)
print("examples: ok")
