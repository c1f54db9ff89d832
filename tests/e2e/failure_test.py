#!/usr/bin/env python3
"""What a server must survive: clients that leave, stages that hang or die mid-answer, SIGTERM, a full queue, a wrong chain."""
import concurrent.futures
import http.client
import json
import os
import signal
import subprocess
import tempfile
import time

from harness import PROGRAM, QUICK, SMOL, Chain, free_port, need, process_alive, wait_until

need(SMOL)
LONG = {"prompt": "Once upon a time", "max_tokens": 400, "temperature": 0, "ignore_eos": True}


def refused(chain):
    code, headers, text = chain.request("POST", "/v1/completions", {**LONG, "max_tokens": 1})
    return (code, headers, text) if code == 503 else None


def running(chain):
    return chain.metric("commissure_num_requests_running") or 0


with Chain(SMOL, stages=3, flags=["--queue-limit", "4", "--max-num-seqs", "2", "--no-restart"]) as chain:
    # A client that goes away in the middle of a stream: its rows leave.
    connection = http.client.HTTPConnection("127.0.0.1", chain.port, timeout=30)
    connection.request("POST", "/v1/completions", json.dumps({**LONG, "max_tokens": 4000, "stream": True}), {"Content-Type": "application/json"})
    response = connection.getresponse()
    response.readline()
    assert running(chain) == 1
    response.close()
    connection.close()
    wait_until(lambda: running(chain) == 0, 2, "the request of a client that left is gone")
    wait_until(lambda: chain.metric("commissure_kv_cache_usage_perc") == 0, 2, "its KV is free")

    # More than the queue holds: 429 at once with Retry-After, the others are served.
    def ask(_):
        return chain.request("POST", "/v1/completions", {**LONG, "max_tokens": 60})[:2]

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(16)))
    codes = sorted(code for code, _ in answers)
    assert codes.count(200) >= 6 and codes.count(429) >= 1 and set(codes) == {200, 429}, codes
    assert all("retry-after" in {key.lower() for key in headers} for code, headers in answers if code == 429)
    print("queue:", {code: codes.count(code) for code in set(codes)})

    # A stage that hangs: an answer within a bound, /health tells; it goes on when the stage does.
    hung = chain.state()["stages"][2]["pid"]
    os.kill(hung, signal.SIGSTOP)
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        stuck = pool.submit(chain.request, "POST", "/v1/completions", {**LONG, "max_tokens": 8, "timeout": 5})
        code = stuck.result(timeout=60)[0]
    assert code in (503, 504), code
    assert time.monotonic() - start < 45
    asked = time.monotonic()
    wait_until(lambda: chain.request("GET", "/health")[0] == 503, 30, "/health tells of the frozen stage")
    print(f"frozen: /health said so {time.monotonic() - asked:.1f} s after the request had its answer")
    os.kill(hung, signal.SIGCONT)
    wait_until(lambda: chain.request("GET", "/health")[0] == 200, 60, "healthy after the stage went on")
    assert chain.post("/v1/completions", {**LONG, "max_tokens": 8})["usage"]["completion_tokens"] == 8

    # A stage that is replaced: who comes meanwhile waits as the running one does, and both get the answers of a chain at peace.
    jobs = [{**LONG, "max_tokens": 300}, {**LONG, "prompt": "The lighthouse keeper", "max_tokens": 20}]
    expected = [chain.post("/v1/completions", job)["choices"][0]["text"] for job in jobs]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(chain.post, "/v1/completions", jobs[0])
        wait_until(lambda: running(chain) == 1, 5, "the first one runs")
        os.kill(hung, signal.SIGKILL)
        wait_until(lambda: chain.request("GET", "/health")[0] == 503, 30, "/health tells of the dead stage")
        second = pool.submit(chain.post, "/v1/completions", jobs[1])
        wait_until(lambda: chain.metric("commissure_num_requests_waiting") == 1, 10, "the second one waits")
        chain.up()
        found = [answer.result(timeout=60)["choices"][0]["text"] for answer in (first, second)]
    assert found == expected, (expected, found)
    print("replaced: a request that came during the outage was answered after it")

    # SIGTERM to stage A: the running stream finishes, the process ends with 0.
    events = []
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        stream = pool.submit(lambda: events.extend(chain.stream("/v1/completions", {**LONG, "max_tokens": 120})))
        wait_until(lambda: running(chain) == 1, 5, "the stream runs")
        pid = chain.state()["stages"][0]["pid"]
        os.kill(pid, signal.SIGTERM)
        stream.result(timeout=30)
    assert events[-1]["choices"][0]["finish_reason"] == "length", events[-1]
    wait_until(lambda: not process_alive(pid), 15, "stage a ended after SIGTERM")

# SIGTERM to stage A with a stream that cannot finish in time: a clear error before the platform's SIGKILL, 503 for who comes now.
with Chain(SMOL, stages=2, flags=["--max-model-len", "8000", "--no-restart"]) as chain:
    events = []
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        stream = pool.submit(lambda: events.extend(chain.stream("/v1/completions", {**LONG, "max_tokens": 7900})))
        wait_until(lambda: running(chain) == 1, 20, "the stream runs")
        pid = chain.state()["stages"][0]["pid"]
        os.kill(pid, signal.SIGTERM)
        start = time.monotonic()
        code, headers, text = wait_until(lambda: refused(chain), 5, "a new request is refused")
        assert "shutting down" in text and "retry-after" in {key.lower() for key in headers}, (headers, text)
        stream.result(timeout=60)
        wait_until(lambda: not process_alive(pid), 30, "stage a ended")
    seconds = time.monotonic() - start
    assert "shutting down" in events[-1]["error"]["message"], events[-1]
    print(f"SIGTERM: the stream was told after {len(events)} events, the process ended after {seconds:.1f} s")
    assert QUICK or seconds < 10, "Cloud Run kills 10 s after SIGTERM"

# A chain whose stages do not belong together is refused, both sides named.
with tempfile.TemporaryDirectory() as folder:
    port = free_port()
    environment = {key: value for key, value in os.environ.items() if key not in ("CUTS", "STAGE")}
    stage_b = subprocess.Popen([PROGRAM, "stage", "--stage", "b", "--cuts", "12", "--model", str(SMOL), "--listen", f"unix:{folder}/b.sock"],
                               env=environment, stderr=subprocess.DEVNULL)
    log = open(f"{folder}/a.log", "w+")
    stage_a = subprocess.Popen([PROGRAM, "stage", "--stage", "a", "--cuts", "10", "--model", str(SMOL), "--next", f"unix:{folder}/b.sock", "--port", str(port)],
                               env=environment, stderr=log)

    def health():
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/health")
            response = connection.getresponse()
            return response.status, response.read().decode()
        except OSError:
            return None

    def refusal():
        answer = health()
        return answer if answer and answer[0] == 503 and "10" in answer[1] and "12" in answer[1] and "layers" in answer[1] else None

    try:
        print("wrong chain:", json.loads(wait_until(refusal, 20, "the wrong chain is refused")[1])["error"]["message"])
    finally:
        for process in (stage_a, stage_b):
            process.terminate()
        assert stage_a.wait(20) == 0 and stage_b.wait(20) == 0
print("failure: ok")
