#!/usr/bin/env python3
"""The shell example runs as it stands: two stages by hand through the environment contract, one answer; and it ends when a port is taken."""
import os
import socket
import subprocess

from harness import PROGRAM, ROOT, SMOL, free_port, need

need(SMOL)
while True:  # two neighbouring free ports
    port = free_port()
    if port < 65000:
        break


def example():
    return subprocess.run([ROOT / "examples/two_stages_local.sh", str(SMOL), str(port)], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "COMMISSURE_PROGRAM": str(PROGRAM)})


done = example()
assert done.returncode == 0 and done.stdout.strip(), (done.returncode, done.stdout, done.stderr)
with socket.create_server(("127.0.0.1", port + 1)):
    taken = example()
assert taken.returncode == 1 and str(port + 1) in taken.stderr and not taken.stdout.strip(), (taken.returncode, taken.stdout, taken.stderr)
print("examples: ok")
