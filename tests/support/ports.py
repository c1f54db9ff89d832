"""Ports for servers that tests and benches start, each this process's own as long as it lives."""
import contextlib
import fcntl
import os
import pathlib
import random
import socket
import tempfile

# Below the kernel's own range (32768 on): no connection of somebody else can take a port between the choice and the server's start.
RANGE = range(20000, 32000)
_held = []  # lock files: closed, and so unlocked, when this process ends; children do not inherit them


def free_port():
    """A port that nobody has and that no other process gets from here while this one lives, however late its server starts."""
    folder = pathlib.Path(tempfile.gettempdir()) / f"commissure-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for port in random.sample(RANGE, len(RANGE)):
        with contextlib.ExitStack() as undo, contextlib.suppress(OSError):
            lock = undo.enter_context(open(folder / str(port), "w"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do: connections of before do not matter
                probe.bind(("0.0.0.0", port))
            undo.pop_all()
            _held.append(lock)
            return port
    raise RuntimeError(f"no port of {RANGE} is free")
