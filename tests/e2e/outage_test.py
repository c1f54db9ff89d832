#!/usr/bin/env python3
"""A chain that was ready and lost a stage while nobody asked for anything: an outage, told by /health at once and, after its limit, by a 503
that names the stage. The stages are started by hand, so that nobody restarts them. It waits most of the time, for that limit."""
import json
import time

from harness import QUICK, SMOL, StagesByHand, need, wait_until

need(SMOL)
RECOVERY_LIMIT = 60
STEP = {"prompt": "Once upon a time", "max_tokens": 8, "temperature": 0, "ignore_eos": True}


def problem(answer):
    return json.loads(answer[2])["error"]["message"]


with StagesByHand("10,20") as chain:
    for letter in "cba":
        chain.start(letter)
    wait_until(chain.is_well, 60, "the chain is up")
    time.sleep(1.5)  # stage A looks at an idle chain once a second
    chain.kill("c")
    killed = time.monotonic()
    sick = wait_until(lambda: (answer := chain.request("GET", "/health"))[0] == 503 and "stage c" in answer[2] and answer, 10, "/health tells of it")
    assert json.loads(sick[2])["status"] == "unavailable", sick
    print("idle:", problem(sick))
    if not QUICK:
        waited = chain.request("POST", "/v1/completions", STEP, timeout=RECOVERY_LIMIT + 30)
        assert waited[0] == 503 and "stage c" in problem(waited), waited
        assert RECOVERY_LIMIT - 10 < time.monotonic() - killed < RECOVERY_LIMIT + 10, time.monotonic() - killed
        asked = time.monotonic()
        refused = chain.request("POST", "/v1/completions", STEP)
        assert refused[0] == 503 and "stage c" in problem(refused) and time.monotonic() - asked < 2, refused
        print(f"idle: a request that waited got 503 {asked - killed:.0f} s after the stage died: {problem(waited)}")
    chain.start("c")
    wait_until(chain.is_well, 60, "the chain is whole again")
    assert chain.post("/v1/completions", STEP)["usage"]["completion_tokens"] == STEP["max_tokens"]
print("outage: ok")
