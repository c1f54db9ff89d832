#!/usr/bin/env python3
"""A person's session with a local chain: up, up again, ask, status, logs, a stage that dies, revival, down."""
import concurrent.futures
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time

from harness import PROGRAM, SMOL, Chain, free_port, need, process_alive, wait_until

need(SMOL)

with Chain(SMOL) as chain:
    first = chain.state()
    assert [stage["name"] for stage in first["stages"]] == ["a", "b", "c"], first

    again = chain.up()
    assert chain.state() == first, "a second `up` must change nothing"
    assert f"curl http://127.0.0.1:{chain.port}/v1/chat/completions" in again.stderr, again.stderr

    other = chain.run("up", "--local", "--detach", "--model", str(SMOL), "--stages", "2", "--port", str(chain.port), check=False)
    assert other.returncode == 1 and "another chain is running" in other.stderr and "--cuts: " in other.stderr, other.stderr
    assert "--port" not in other.stderr.split("settings")[1].split(";")[0], "only what differs is named"

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

    # A stage that dies is started again by the chain's supervisor, with nobody at a terminal; the reason is kept. Stage A keeps its port.
    for index, name in ((1, "b"), (0, "a")):
        victim = chain.state()["stages"][index]
        os.kill(victim["pid"], signal.SIGKILL)
        wait_until(lambda: chain.state()["stages"][index]["pid"] != victim["pid"], 10, f"stage {name} was started again")
        assert "killed by signal 9" in chain.state()["stages"][index]["last_death"], chain.state()
        wait_until(lambda: chain.status().get("healthy"), 20, "the chain is well again")
        status = chain.status()["stages"][index]
        assert status["deaths"] == 1 and "killed by signal 9" in status["last_death"], status
        assert "was started again once: killed by signal 9" in chain.run("status").stdout
        same = chain.run("ask", "--temperature", "0", "--max-tokens", "24", "What is the capital of France?")
        assert same.stdout == answer.stdout, "a new stage gives the same answer"

    # One that keeps dying is given up, which status says with the reason; the next `up` tries again.
    def given_up():
        stage = chain.state()["stages"][1]
        if not stage["given_up"] and process_alive(stage["pid"]):
            os.kill(stage["pid"], signal.SIGKILL)
        return stage["given_up"]

    wait_until(given_up, 60, "the supervisor gives up")
    status = chain.status()
    assert status["stages"][1]["state"] == "given up" and not status["healthy"] and "up --local" in status["advice"], status
    bounds = [stage["layers"] for stage in status["stages"]]
    assert bounds[0][0] == 0 and bounds[0][1] == bounds[1][0] and bounds[1][1] == bounds[2][0] and bounds[2][1] == 30, bounds
    shown = chain.run("status", check=False).stdout
    assert "not started again: killed by signal 9" in shown and f"{bounds[2][0]}-29" in shown and "?" not in shown, shown
    assert all(len(line) <= 80 for line in shown.splitlines()[1:5] if line[:1] in "Sabc"), shown
    wait_until(lambda: chain.request("GET", "/health")[0] == 503, 5, "/health says 503")
    asked = subprocess.Popen([PROGRAM, "ask", "--max-tokens", "4", "Hi"], env=chain.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             stdin=subprocess.DEVNULL)
    time.sleep(2.5)
    chain.up()
    out, err = asked.communicate(timeout=60)
    assert asked.returncode == 0 and out.strip(), (out, err)
    assert "waiting: stage b" in err, err
    assert chain.state()["stages"][1]["deaths"] == 0, "a fresh start"
    wait_until(lambda: chain.request("GET", "/health")[0] == 200, 20, "/health says 200")

    # Without its supervisor the chain serves on; status says what is missing, `up` brings another one.
    supervisor = chain.state()["supervisor"]["pid"]
    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: not process_alive(supervisor), 5, "the supervisor is gone")
    assert "supervisor ended" in chain.run("status").stdout
    stages = [stage["pid"] for stage in chain.state()["stages"]]
    chain.up()
    assert [stage["pid"] for stage in chain.state()["stages"]] == stages and process_alive(chain.state()["supervisor"]["pid"])

    # A second chain beside it has a name of its own; which one is meant has to be said.
    port = free_port()
    second = ("up", "--local", "--detach", "--name", "two", "--model", str(SMOL), "--stages", "1", "--port", str(port))
    assert f"http://127.0.0.1:{port}/v1" in chain.run(*second).stderr
    unclear = chain.run("status", check=False)
    assert unclear.returncode == 1 and "two (" in unclear.stderr and "--name" in unclear.stderr, unclear
    assert json.loads(chain.run("status", "--name", "two", "--json").stdout)["url"].endswith(str(port))
    assert chain.run("ask", "--name", "two", "--max-tokens", "3", "Hi").stdout.strip()
    stopped = chain.run("down", "--name", "two").stdout
    assert "Stopped 1 stage of the chain two" in stopped and str(port) in stopped, stopped

    # A chain here and a deployment's file: neither is guessed.
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "commissure.yaml").write_text("project: none\n")
        for command in (("status",), ("ask", "Hi"), ("down",), ("logs",)):
            unclear = subprocess.run([PROGRAM, *command], env=chain.environment, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
            assert unclear.returncode == 1 and "--local or --cloud" in unclear.stderr, unclear
        meant = subprocess.run([PROGRAM, "status", "--local"], env=chain.environment, cwd=folder, capture_output=True, text=True)
        assert meant.returncode == 0 and "healthy" in meant.stdout, meant

    run_folder = pathlib.Path(chain.folder.name) / "run"
    pids = [stage["pid"] for stage in chain.state()["stages"]] + [chain.state()["supervisor"]["pid"]]
    assert "Stopped 3 stages of the chain local" in chain.run("down").stdout
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
# Several `up` at once: one chain, and all say the same; nothing is left over.
chain = Chain(SMOL, stages=2)
try:
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: chain.up(check=False), range(4)))
    assert [one.returncode for one in done] == [0] * 4, [one.stderr for one in done]
    chain.run("down")
    assert not chain.processes(), chain.processes()

    # A run folder that somebody else may write is not trusted.
    run_folder = pathlib.Path(chain.folder.name) / "run"
    (run_folder / "local").mkdir(parents=True)
    run_folder.chmod(0o777)
    victim = subprocess.Popen(["sleep", "60"])
    start_time = int(pathlib.Path(f"/proc/{victim.pid}/stat").read_text().rsplit(")", 1)[1].split()[19])
    (run_folder / "local/state.json").write_text(json.dumps(
        {"name": "local", "model": "m", "model_name": "m", "cuts": [], "n_layers": 1, "host": "127.0.0.1", "port": chain.port, "stage_flags": [],
         "restarts": True, "supervisor": {"pid": victim.pid, "start_time": start_time}, "started": True,
         "stages": [{"name": "a", "pid": victim.pid, "start_time": start_time, "log": "x", "deaths": 0, "last_death": "", "given_up": False}]}))
    for command in (("status",), ("down",), chain.up_command):
        refused = chain.run(*command, check=False)
        assert refused.returncode == 1 and "may be written by others" in refused.stderr, refused
    assert victim.poll() is None, "`down` ended a process that another user's state file named"
    victim.kill()
    victim.wait()
finally:
    chain.close()

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
