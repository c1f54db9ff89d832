#!/usr/bin/env python3
"""`commissure top`: plain text outside a terminal, a redrawn picture on one, which q leaves as it was."""
import concurrent.futures
import contextlib
import fcntl
import functools
import os
import pty
import re
import struct
import subprocess
import termios
import time

from harness import PROGRAM, SMOL, Chain, need, wait_until


def read_until(master, wanted, seconds):
    seen, deadline = b"", time.monotonic() + seconds
    while wanted not in seen and time.monotonic() < deadline:
        try:
            seen += os.read(master, 65536)
        except OSError:  # the other side is closed
            break
    return seen


def with_key(request, method, path, body=None, headers=None, **more):
    return request(method, path, body, {"Authorization": "Bearer top-test", **(headers or {})}, **more)


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


def rates_under_load(chain, prefix):
    """What `top` says of a second of one stream, between two looks at the counters it reads."""
    def counters():
        return [chain.metric(f"{prefix}{name}") for name in ("generation_tokens_total", f"iteration_tokens{'_total' if prefix == 'vllm:' else ''}_count")]

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        done = pool.submit(chain.post, "/v1/completions", {"prompt": "The sea", "max_tokens": 4000, "timeout": 6, "ignore_eos": True, "temperature": 0})
        wait_until(lambda: (chain.metric(f"{prefix}num_requests_running") or 0) == 1, 20, "the stream runs")
        before, start = counters(), time.monotonic()
        text = chain.run("top", "--once").stdout
        seconds, after = time.monotonic() - start, counters()
        with contextlib.suppress(AssertionError):
            done.result()  # it ends by its timeout
    assert re.search(r"Requests +1 running", text), text
    shown = [float(re.search(rf"([0-9.]+) {unit}/s", text)[1]) for unit in ("out", "steps")]
    for rate, old, new in zip(shown, before, after):
        assert 0 < rate and rate * 0.9 <= new - old, (text, before, after)  # its second lies within ours
        assert rate >= (new - old) / seconds / 4, (text, before, after, seconds)
    assert all(len(line) <= 80 for line in text.splitlines()), text


def main():
    need(SMOL)
    with Chain(SMOL, stages=2, flags=["--metrics-names", "vllm"], environment={"COMMISSURE_API_KEY": "top-test"}) as chain:
        environment = {key: value for key, value in chain.environment.items() if key != "COMMISSURE_API_KEY"}
        blind = subprocess.run([PROGRAM, "top", "--once"], env=environment, capture_output=True, text=True, timeout=60)
        assert "  healthy" in blind.stdout and "COMMISSURE_API_KEY" in blind.stdout, blind
        chain.request = functools.partial(with_key, chain.request)
        rates_under_load(chain, "vllm:")
    with Chain(SMOL, stages=2) as chain:
        chain.post("/v1/completions", {"prompt": "The sea", "max_tokens": 4})
        rates_under_load(chain, "commissure_")
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
