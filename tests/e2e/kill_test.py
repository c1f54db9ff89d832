#!/usr/bin/env python3
"""Stages B and C are killed (SIGKILL), frozen (SIGSTOP) or asked to end (SIGTERM) at random moments under 16 mixed streams, while
the streams between stages are replaced every few seconds: no request fails and no token or log-probability changes. `make soak`
runs 100 such blows, the suite 10. Sanitizers get fewer blows, fewer requests and older streams: if computing all sequences again
outlasts a stream between stages, nothing moves."""
import argparse
import concurrent.futures
import itertools
import json
import os
import random
import signal
import threading
import time

from harness import QUICK, SMOL, Chain, need, process_alive, wait_until

need(SMOL)
parser = argparse.ArgumentParser()
parser.add_argument("--blows", type=int, default=4 if QUICK else 10)
parser.add_argument("--seed", type=int, default=1)
arguments = parser.parse_args()
dice = random.Random(arguments.seed)
N_STREAMS = 6 if QUICK else 16
STREAM_AGE = 20 if QUICK else 4  # seconds

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


def all_blows():
    """Every blow to every stage, in an order of chance, again and again."""
    while True:
        blows = [(stage, blow) for stage in (1, 2) for blow in ("killed", "killed", "frozen", "asked")]
        dice.shuffle(blows)
        yield from blows


def strike(chain, stage, blow):
    """One blow, and what the platform does about it."""
    pid = chain.state()["stages"][stage]["pid"]
    if blow == "frozen":
        os.kill(pid, signal.SIGSTOP)
        time.sleep(dice.uniform(0.2, 1.5))
        os.kill(pid, signal.SIGCONT)
        return
    os.kill(pid, signal.SIGKILL if blow == "killed" else signal.SIGTERM)
    wait_until(lambda: not process_alive(pid), 15, "the stage is gone")
    time.sleep(dice.uniform(0, 0.5))
    chain.up()


with Chain(SMOL, stages=3, environment={"COMMISSURE_MAX_STREAM_AGE": str(STREAM_AGE)}) as chain:
    expected = [answer(chain, index) for index in range(N_STREAMS)]
    over = threading.Event()
    blows, n_answers = {"frozen": 0, "killed": 0, "asked": 0}, 0

    def keep_asking(index):
        count = 0
        while not over.is_set():
            found = answer(chain, index)
            assert found == expected[index], f"stream {index} changed:\n{expected[index]}\n{found}"
            count += 1
        return count

    with concurrent.futures.ThreadPoolExecutor(N_STREAMS) as pool:
        streams = [pool.submit(keep_asking, index) for index in range(N_STREAMS)]
        try:
            for stage, blow in itertools.islice(all_blows(), arguments.blows):
                time.sleep(dice.uniform(0.1, 2))
                strike(chain, stage, blow)
                blows[blow] += 1
                for stream in streams:
                    if stream.done():
                        stream.result()  # raises what went wrong
        finally:
            over.set()
        n_answers = sum(stream.result(timeout=120) for stream in streams)
    replays = int(chain.metric("commissure_num_replays_total"))
    assert chain.metric("commissure_kv_cache_usage_perc") == 0, "all KV is free at the end"
    print(f"kill: {blows['killed']} stages killed, {blows['frozen']} frozen, {blows['asked']} asked to end, {n_answers} answers, {replays} sequences replayed, none failed, "
          "none changed")
