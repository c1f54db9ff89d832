#!/usr/bin/env python3
"""Stages B and C are killed (SIGKILL) or frozen (SIGSTOP) at random moments under 16 mixed streams: no request fails and no token
or log-probability changes. `make soak` runs 100 such blows, the suite 10."""
import argparse
import concurrent.futures
import json
import os
import random
import signal
import threading
import time

from harness import SMOL, Chain, need, process_alive, wait_until

need(SMOL)
parser = argparse.ArgumentParser()
parser.add_argument("--blows", type=int, default=10)
parser.add_argument("--seed", type=int, default=1)
arguments = parser.parse_args()
dice = random.Random(arguments.seed)

STORY = "The lighthouse keeper counted the ships at dusk and wrote their names into a green book. "


def job(index):
    """Short and long prompts and answers, greedy and sampled, with and without log-probabilities, some with samplers
    that depend on every token so far: what a stage knew when it died."""
    body = {"prompt": f"Chapter {index}. " + STORY * (1 + index % 4 * 6), "max_tokens": 24 + 24 * (index % 3), "ignore_eos": True,
            "return_tokens_as_token_ids": True}
    body.update({"temperature": 0} if index % 2 else {"temperature": 0.8, "top_p": 0.9, "seed": 100 + index})
    if index % 3 == 0:
        body["logprobs"] = 2
    if index % 3 == 1:
        body.update({"repetition_penalty": 1.2, "frequency_penalty": 0.4, "dry_multiplier": 0.8, "min_tokens": 8})
    if index % 4 == 2:
        body.update({"mirostat": 2, "mirostat_tau": 3})
    return body


def answer(chain, index):
    """What the client sees of a stream: its text, log-probabilities and how it ended."""
    text, scores, finish = "", [], None
    for event in chain.stream("/v1/completions", job(index)):
        assert "error" not in event, event
        choice = event["choices"][0]
        text += choice["text"]
        scores += (choice.get("logprobs") or {}).get("token_logprobs") or []
        finish = choice["finish_reason"] or finish
    return text, json.dumps(scores), finish


def strike(chain):
    """One blow to a random stage, and what the platform does about it."""
    stage = dice.choice(chain.state()["stages"][1:])
    if dice.random() < 0.3:
        os.kill(stage["pid"], signal.SIGSTOP)
        time.sleep(dice.uniform(0.2, 1.5))
        os.kill(stage["pid"], signal.SIGCONT)
        return "frozen"
    os.kill(stage["pid"], signal.SIGKILL)
    wait_until(lambda: not process_alive(stage["pid"]), 5, "the stage is dead")
    time.sleep(dice.uniform(0, 0.5))
    chain.up()
    return "killed"


with Chain(SMOL, stages=3) as chain:
    expected = [answer(chain, index) for index in range(16)]
    over = threading.Event()
    blows, n_answers = {"frozen": 0, "killed": 0}, 0

    def keep_asking(index):
        count = 0
        while not over.is_set():
            found = answer(chain, index)
            assert found == expected[index], f"stream {index} changed:\n{expected[index]}\n{found}"
            count += 1
        return count

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        streams = [pool.submit(keep_asking, index) for index in range(16)]
        try:
            for _ in range(arguments.blows):
                time.sleep(dice.uniform(0.1, 2))
                blows[strike(chain)] += 1
                for stream in streams:
                    if stream.done():
                        stream.result()  # raises what went wrong
        finally:
            over.set()
        n_answers = sum(stream.result(timeout=120) for stream in streams)
    replays = int(chain.metric("commissure:num_replays_total"))
    assert chain.metric("commissure:kv_cache_usage_perc") == 0, "all KV is free at the end"
    print(f"kill: {blows['killed']} stages killed, {blows['frozen']} frozen, {n_answers} answers, {replays} sequences replayed, none failed, "
          "none changed")
