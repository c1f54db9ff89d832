#!/usr/bin/env python3
"""Stages B and C are killed (SIGKILL), frozen (SIGSTOP) or asked to end (SIGTERM) at random moments under 16 mixed streams, while
the streams between stages are replaced every few seconds: no request fails and no token or log-probability changes. SmolLM2 with bf16
keys and values, then Gemma, whose windows prompts and answers outgrow, with int8. `make soak` runs 100 such blows, the suite 10.
Sanitizers get fewer blows, fewer requests and older streams: if computing all sequences again outlasts a stream between stages,
nothing moves."""
import argparse
import concurrent.futures
import itertools
import json
import os
import random
import signal
import threading
import time

from harness import GEMMA, QUICK, SMOL, Chain, need, process_alive, wait_until

parser = argparse.ArgumentParser()
parser.add_argument("--smol", type=int, default=2 if QUICK else 4, help="blows to SmolLM2, bf16")
parser.add_argument("--gemma", type=int, default=2 if QUICK else 3, help="blows to Gemma, int8")
parser.add_argument("--seed", type=int, default=1)
arguments = parser.parse_args()
dice = random.Random(arguments.seed)
N_STREAMS = 6 if QUICK else 16
STREAM_AGE = 20 if QUICK else 4  # seconds

STORY = "The lighthouse keeper counted the ships at dusk and wrote their names into a green book. "


def job(index, length):
    """Short and long prompts and answers, greedy and sampled, with and without log-probabilities, some with samplers
    that depend on every token so far: what a stage knew when it died."""
    body = {"prompt": f"Chapter {index}. " + STORY * (1 + index % 4 * length), "max_tokens": 24 + 24 * (index % 3), "ignore_eos": True,
            "return_tokens_as_token_ids": True}
    body.update({"temperature": 0} if index % 2 else {"temperature": 0.8, "top_p": 0.9, "seed": 100 + index})
    if index % 3 == 0:
        body.update({"logprobs": 2, "logprobs_mode": "processed_logprobs" if index % 6 == 0 else "raw_logprobs"})
    if index % 3 == 1:
        body.update({"repetition_penalty": 1.2, "frequency_penalty": 0.4, "dry_multiplier": 0.8, "min_tokens": 8})
    if index % 4 == 2:
        body.update({"mirostat": 2, "mirostat_tau": 3})
    return body


def answer(chain, body):
    """What the client sees of a stream: its text, log-probabilities and how it ended."""
    text, scores, finish = "", [], None
    for event in chain.stream("/v1/completions", body):
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


def endure(name, model, flags, jobs, n_blows):
    """Asks all jobs again and again while blows fall; every answer is the one that a chain at peace gives."""
    with Chain(model, stages=3, flags=flags, environment={"COMMISSURE_MAX_STREAM_AGE": str(STREAM_AGE)}) as chain:
        with concurrent.futures.ThreadPoolExecutor(len(jobs)) as pool:
            expected = list(pool.map(lambda body: answer(chain, body), jobs))
        over = threading.Event()
        blows = {"frozen": 0, "killed": 0, "asked": 0}

        def keep_asking(index):
            count = 0
            while not over.is_set():
                found = answer(chain, jobs[index])
                assert found == expected[index], f"{name}: stream {index} changed:\n{expected[index]}\n{found}"
                count += 1
            return count

        with concurrent.futures.ThreadPoolExecutor(len(jobs)) as pool:
            streams = [pool.submit(keep_asking, index) for index in range(len(jobs))]
            try:
                for stage, blow in itertools.islice(all_blows(), n_blows):
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
        kept = int(chain.metric("commissure_num_kept_total"))
        if blows["killed"] + blows["asked"] > 0:
            log = chain.run("logs", "--stage", "a", "--lines", "1000").stdout
            assert "computed_again=by stage" in log, log
        assert chain.metric("commissure_kv_cache_usage_perc") == 0, "all KV is free at the end"
        assert not chain.metric("commissure_kv_window_blocks_used"), "all of the windows, too"
        print(f"kill, {name}: {blows['killed']} stages killed, {blows['frozen']} frozen, {blows['asked']} asked to end, {n_answers} answers, "
              f"{replays} sequences replayed, {kept} went on without, none failed, none changed", flush=True)


need(SMOL, GEMMA)
if arguments.smol:
    endure("SmolLM2, bf16 KV", SMOL, [], [job(index, 6) for index in range(N_STREAMS)], arguments.smol)
if arguments.gemma:
    # Up to 31 stories are 560 tokens, with the answer more than the window's 512 positions.
    endure("Gemma, int8 KV", GEMMA, ["--kv-dtype", "int8"], [job(index, 10) for index in range(N_STREAMS)], arguments.gemma)
