#!/usr/bin/env python3
"""`commissure top`: plain text outside a terminal, a redrawn picture on one, which q leaves as it was."""
import fcntl
import os
import pty
import struct
import subprocess
import termios
import time

from harness import PROGRAM, SMOL, Chain, need


def read_until(master, wanted, seconds):
    seen, deadline = b"", time.monotonic() + seconds
    while wanted not in seen and time.monotonic() < deadline:
        try:
            seen += os.read(master, 65536)
        except OSError:  # the other side is closed
            break
    return seen


def on_terminal(chain):
    """(what was drawn, exit status, whether the terminal is as before)"""
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(terminal)
    program = subprocess.Popen([PROGRAM, "top"], stdin=terminal, stdout=terminal, stderr=terminal, env=chain.environment)
    drawn = read_until(master, b"q leaves", 20)
    os.write(master, b"q")
    drawn += read_until(master, b"\x1b[?1049l", 20)
    status = program.wait(20)
    return drawn.decode(), status, termios.tcgetattr(terminal) == before


def main():
    need(SMOL)
    with Chain(SMOL, stages=2) as chain:
        chain.post("/v1/completions", {"prompt": "The sea", "max_tokens": 4})
        once = chain.run("top", "--once").stdout
        assert "healthy" in once and "\033" not in once, once
        for line in ("Requests", "Tokens", "TTFT", "ITL", "KV cache", "stage", "a ", "b "):
            assert any(row.startswith(line) for row in once.splitlines()), (line, once)
        drawn, status, restored = on_terminal(chain)
        assert "\x1b[?1049h" in drawn and drawn.rstrip().endswith("\x1b[?1049l") and status == 0, (drawn, status)
        assert restored, "the terminal's settings were not put back"
        nobody = chain.run("top", "--once", "--url", "http://127.0.0.1:1", check=False)
        assert nobody.returncode == 1 and "nothing answers" in nobody.stderr, nobody
    print("top: plain text, a picture on a terminal, and the terminal as it was")


if __name__ == "__main__":
    main()
