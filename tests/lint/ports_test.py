#!/usr/bin/env python3
"""Processes that ask for ports at the same time never get the same one, nor one that a server has."""
import pathlib
import socket
import subprocess
import sys

SUPPORT = pathlib.Path(__file__).resolve().parents[1] / "support"
sys.path.insert(0, str(SUPPORT))
import ports  # noqa: E402

ASK = f"import sys; sys.path.insert(0, {str(SUPPORT)!r}); import ports; ports.RANGE = range(25000, 25100)\n" \
      "print(*(ports.free_port() for _ in range(20)), flush=True); sys.stdin.read()"

with socket.socket() as server:
    server.bind(("127.0.0.1", 0))
    server.listen()
    ports.RANGE = range(server.getsockname()[1], server.getsockname()[1] + 1)
    try:
        raise SystemExit(f"{ports.free_port()} has a server")
    except RuntimeError:
        pass

asking = [subprocess.Popen([sys.executable, "-c", ASK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
try:
    got = [port for process in asking for port in process.stdout.readline().split()]
finally:
    for process in asking:
        process.communicate()
assert len(got) == len(set(got)) == 80, sorted(got)
ports.RANGE = range(25000, 25100)
assert len({ports.free_port() for _ in range(90)}) == 90, "those of processes that ended are free again"
print("80 ports, all different")
