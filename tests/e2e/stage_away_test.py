#!/usr/bin/env python3
"""What users see of a stage that is slow, frozen or wanted by two: a stage that computes for long is waited for, a frozen one is found;
of two stages A one is served and the other is told why not. The stages are started by hand, so that nobody restarts them."""
import concurrent.futures
import contextlib
import http.client
import json
import signal
import threading
import time

from harness import SMOL, StagesByHand, need, wait_until

need(SMOL)
STEP = {"prompt": "Once upon a time", "max_tokens": 8, "temperature": 0, "ignore_eos": True}

# A stage whose steps take longer than the limit: it computes, so it is waited for. One that is frozen is not.
DEADLINE = 4
with StagesByHand("15", COMMISSURE_STEP_DEADLINE=str(DEADLINE)) as chain:
    chain.start("b", COMMISSURE_ISA="reference")
    chain.start("a")
    wait_until(chain.is_well, 60, "the chain is up")

    def ask(n_tokens):
        job = {**STEP, "prompt": [3] * n_tokens, "max_tokens": 1}
        start = time.monotonic()
        return chain.post("/v1/completions", job, timeout=300)["choices"][0]["text"], time.monotonic() - start

    chain.post("/v1/completions", {**STEP, "max_tokens": 24}, timeout=300)  # so many decode steps that the pace is known
    n_rows = max(32, min(480, int(24 * 3 * DEADLINE / ask(24)[1])))
    text, seconds = ask(n_rows)
    log = chain.log("a")
    assert "stream lost" not in log and "no sign of work" not in log, log
    assert seconds < DEADLINE or "a step takes long, the stages are at work" in log, log
    print(f"slow: a step of {n_rows} rows took {seconds:.0f} s, the limit is {DEADLINE} s")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        slow = pool.submit(ask, n_rows)
        time.sleep(1)
        chain.processes["b"].send_signal(signal.SIGSTOP)
        frozen = time.monotonic()
        wait_until(lambda: chain.request("GET", "/health")[0] == 503, 8 * DEADLINE, "/health tells of the frozen stage")
        print(f"frozen: found after {time.monotonic() - frozen:.1f} s")
        chain.processes["b"].send_signal(signal.SIGCONT)
        assert slow.result(timeout=300)[0] == text

# Two stages A: the one at work goes on, then the newer one has the stages, and neither takes them back.
with StagesByHand("15") as chain:
    chain.start("b")
    old = chain.start("a", "old")
    wait_until(chain.is_well, 60, "the chain is up")

    def send(port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=90)
        with contextlib.closing(connection):
            connection.request("POST", "/v1/completions", json.dumps(STEP), {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read().decode()

    answers = []

    def keep_asking(port, over):
        while not over.is_set():
            answers.append(send(port))
            time.sleep(0.05)

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        over = threading.Event()
        busy = [pool.submit(keep_asking, old, over) for _ in range(2)]
        try:
            newer = chain.start("a", "newer")
            wait_until(lambda: "which is at work" in chain.log("b"), 60, "stage b says why the newer stage A waits")
            wait_until(chain.health, 60, "the newer stage A listens, which it does at any moment beside its asking")
            waiting = pool.submit(send, newer)
            n_wanted = max(11, len(answers) + 3)
            wait_until(lambda: len(answers) >= n_wanted, 120, "the stage A that is at work goes on answering")
            assert not waiting.done(), waiting.result()
        finally:
            over.set()
        for future in busy:
            future.result(timeout=90)
        served = list(answers)
        assert len(served) > 10 and all(status == 200 for status, _ in served), [answer for answer in served if answer[0] != 200][:2]
        silent = time.monotonic()
        status, text = waiting.result(timeout=60)
        assert status == 200, (status, text)
        print(f"two stages A: {len(served)} answers of the one at work, none failed; the other had its own {time.monotonic() - silent:.1f} s later")

    expected = served[0][1].split('"text"')[1].split(",")[0]
    for _ in range(20):
        (old_status, old_text), (new_status, new_text) = send(old), send(newer)
        assert new_status == 200 and expected in new_text, (new_status, new_text)
        assert old_status == 503 and "began to run later" in old_text, (old_status, old_text)
    assert chain.log("b").count("stream taken") == 2, chain.log("b")
    chain.kill("newer")
    wait_until(lambda: send(old)[0] == 200, 20, "the older one serves again when the newer one is gone")
print("stage away: ok")
