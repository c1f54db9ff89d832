#!/usr/bin/env python3
"""Two chains on one machine: `down` ends the one that was named, refuses to guess, and touches nothing of the other."""
from harness import SMOL, Chain, free_port, need, process_alive

need(SMOL)


def pids(state):
    return [stage["pid"] for stage in state["stages"]] + [state["supervisor"]["pid"]]


with Chain(SMOL, stages=2) as chain:
    port = free_port()
    chain.run("up", "--local", "--detach", "--name", "two", "--model", str(SMOL), "--stages", "1", "--port", str(port))
    first, second = pids(chain.state()), pids(chain.state("two"))

    for command in ("down", "logs", "status"):
        unclear = chain.run(command, check=False)
        assert unclear.returncode == 1 and "--name" in unclear.stderr, unclear
        assert "local (" in unclear.stderr and f"two (SmolLM2-135M-Instruct.Q4_1 at http://127.0.0.1:{port}" in unclear.stderr, unclear
    unknown = chain.run("down", "--name", "three", check=False)
    assert unknown.returncode == 1 and "no chain of the name three" in unknown.stderr, unknown
    assert all(map(process_alive, first + second)), "a `down` that was not clear ended something"

    stopped = chain.run("down", "--name", "two").stdout
    assert "Stopped 1 stage of the chain two" in stopped and str(port) in stopped, stopped
    assert not any(map(process_alive, second)) and all(map(process_alive, first))
    assert chain.run("down", "--name", "two", check=False).returncode == 1, "it is gone"
    assert chain.run("ask", "--max-tokens", "3", "Hi").stdout.strip(), "the other chain serves on, and is the only one again"

    # The one without a name is `local`, and is found without one too.
    assert "Stopped 2 stages of the chain local" in chain.run("down").stdout
    assert not any(map(process_alive, first)) and not chain.processes()
    assert "Nothing is running" in chain.run("down").stdout
print("two chains: ok")
