#!/usr/bin/env python3
"""A person's session with a local chain: up, up again, ask, status, logs, a stage that dies, revival, down."""
import concurrent.futures
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

from harness import PROGRAM, SMOL, Chain, need, process_alive, wait_until

need(SMOL)

with Chain(SMOL) as chain:
    first = chain.state()
    assert [stage["name"] for stage in first["stages"]] == ["a", "b", "c"], first

    again = chain.up()
    assert chain.state() == first, "a second `up` must change nothing"
    assert f"curl http://127.0.0.1:{chain.port}/v1/chat/completions" in again.stderr, again.stderr

    other = chain.run("up", "--local", "--detach", "--model", str(SMOL), "--stages", "2", "--port", str(chain.port), check=False)
    assert other.returncode == 1 and "another chain is running" in other.stderr, other.stderr

    answer = chain.run("ask", "--temperature", "0", "--max-tokens", "24", "What is the capital of France?")
    assert answer.stdout.strip() and "\x1b" not in answer.stdout + answer.stderr, answer
    piped = json.loads(chain.run("ask", "--json", "--temperature", "0", "--max-tokens", "24", "-", stdin="What is the capital of France?").stdout)
    assert piped["text"].strip() == answer.stdout.strip() and piped["usage"]["completion_tokens"] > 0, piped
    assert piped["finish_reason"] in ("stop", "length"), piped

    chat = chain.run("chat", "--temperature", "0", "--max-tokens", "16", stdin="Hello!\n/clear\nHello!\n/bye\n")
    assert chat.stdout.strip(), chat

    status = chain.status()
    assert status["healthy"], status
    for stage, (first_layer, last_layer) in zip(status["stages"], ((0, None), (None, None), (None, 30))):
        assert stage["state"] == "ready" and stage["alive"], stage
        assert first_layer is None or stage["layers"][0] == first_layer
        assert last_layer is None or stage["layers"][1] == last_layer
        own, read = stage["weight_bytes"], stage["source_bytes_read"]
        assert own > 0 and stage["load_ms"] >= 0, stage
        print(f"stage {stage['stage']}: own {own}, read {read}, resident {stage['resident_bytes']}, private {stage['private_bytes']}")
    assert "ready" in chain.run("status").stdout
    assert "stage" in chain.run("logs", "--stage", "b").stdout
    assert chain.run("logs", "--stage", "q", check=False).returncode == 1
    assert chain.run("warm").returncode == 0

    # Stage B dies: seen at once; requests wait for it within their own bound, and it comes back.
    victim = chain.state()["stages"][1]
    os.kill(victim["pid"], signal.SIGKILL)
    wait_until(lambda: not process_alive(victim["pid"]), 5, "stage b gone")
    status = chain.status()
    dead = status["stages"][1]
    assert not status["healthy"] and dead["state"] == "dead" and dead["last_log"], status
    wait_until(lambda: chain.request("GET", "/health")[0] == 503, 5, "/health says 503")
    start = time.monotonic()
    code, _, text = chain.request("POST", "/v1/completions", {"prompt": "Hi", "max_tokens": 4, "timeout": 1})
    assert code == 504 and time.monotonic() - start < 10, (code, text)
    assert json.loads(text)["error"]["message"], text

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(chain.post, "/v1/completions", {"prompt": "Hi", "max_tokens": 4})
        chain.up()
        assert waiting.result(timeout=60)["usage"]["completion_tokens"] > 0, "it was answered when the stage was back"
    assert chain.state()["stages"][0]["pid"] == first["stages"][0]["pid"], "only the dead stage is started again"
    wait_until(lambda: chain.request("GET", "/health")[0] == 200, 20, "/health says 200")
    same = chain.run("ask", "--temperature", "0", "--max-tokens", "24", "What is the capital of France?")
    assert same.stdout == answer.stdout, "a new stage gives the same answer"

    run_folder = pathlib.Path(chain.folder.name) / "run"
    pids = [stage["pid"] for stage in chain.state()["stages"]]
    assert "Stopped 3 stages" in chain.run("down").stdout
    assert not any(process_alive(pid) for pid in pids)
    assert not run_folder.exists(), list(run_folder.rglob("*"))
    assert "Nothing is running" in chain.run("down").stdout
    assert chain.run("status", check=False).returncode == 3

    # A port in use is named.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", chain.port))
        taken.listen()
        refused = chain.up(check=False)
        assert refused.returncode == 1 and f"port {chain.port} is in use" in refused.stderr, refused.stderr
    assert not run_folder.exists() or not list(run_folder.rglob("*")), list(run_folder.rglob("*"))
# In the foreground `up` starts a stage that died again, by itself; a signal ends all.
chain = Chain(SMOL, stages=2)
log = pathlib.Path(chain.folder.name) / "up.log"
with open(log, "w") as file:
    foreground = subprocess.Popen([PROGRAM, *(flag for flag in chain.up_command if flag != "--detach")], env=chain.environment, stderr=file)
try:
    wait_until(lambda: "Ctrl-C stops" in log.read_text(), 20, "the chain is up")
    victim = chain.state()["stages"][1]
    os.kill(victim["pid"], signal.SIGKILL)
    wait_until(lambda: chain.state()["stages"][1]["pid"] != victim["pid"], 10, "stage b was started again")
    assert chain.post("/v1/completions", {"prompt": "Hi", "max_tokens": 4})["usage"]["completion_tokens"] > 0
finally:
    foreground.terminate()
    assert foreground.wait(20) == 0
    chain.close()
print("local chain: ok")
