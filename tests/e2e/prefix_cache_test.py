#!/usr/bin/env python3
"""The prefix cache changes no answer: the same tokens and log-probabilities to the last digit with and without it, alone and beside
others, and after stages were killed while nothing ran. `usage` says what was reused; a salt parts what is the same."""
import concurrent.futures
import json
import os
import signal
import statistics
import time

from harness import ALL, GEMMA, QUICK, SMOL, Chain, need, process_alive, wait_until

need(SMOL, GEMMA)

BLOCK = 64
STORY = "The lighthouse keeper counted the ships at dusk, wrote their names into a green book, and closed it with a ribbon. " * (4 if QUICK else 16 if ALL else 6)
QUESTIONS = ["Which colour has the book?", "Who counted the ships, and when?", "In winter"][: 3 if ALL else 2]


def jobs():
    """Greedy, drawn, and by samplers that look back on rows that are not computed again."""
    for index, question in enumerate(QUESTIONS):
        body = {"prompt": STORY + question, "max_tokens": 12, "ignore_eos": True, "logprobs": 3}
        yield {**body, "temperature": 0}
        yield {**body, "temperature": 0.9, "top_k": 40, "seed": 40 + index}
        yield {**body, "temperature": 0.7, "seed": 7, "repetition_penalty": 1.2, "frequency_penalty": 0.3, "dry_multiplier": 0.8}
    yield {"prompt": STORY, "max_tokens": 0, "echo": True, "logprobs": 1, "temperature": 0}


def ask(chain, job):
    """What may not change, and the usage."""
    answer = chain.post("/v1/completions", job)
    choice, usage = answer["choices"][0], answer["usage"]
    return (choice["text"], json.dumps(choice["logprobs"])), usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]


def check(chain, expected, what, together=False):
    """All answers as expected; the cached tokens of each."""
    with concurrent.futures.ThreadPoolExecutor(len(expected) if together else 1) as pool:
        found = list(pool.map(lambda job: ask(chain, job), jobs()))
    for index, (want, have) in enumerate(zip(expected, found)):
        assert want[0] == have[0], f"{what}: answer {index} changed\nwant {want[0]}\nhave {have[0]}"
    print(f"{what}: {len(found)} answers identical, cached {[have[2] for have in found]}")
    return [have[2] for have in found]


def most(n_prompt):
    return (n_prompt - 1) // BLOCK * BLOCK


def first_token_seconds(chain, salt):
    start = time.monotonic()
    for _ in chain.stream("/v1/completions", {"prompt": STORY, "max_tokens": 1, "temperature": 0, "cache_salt": salt}):
        return time.monotonic() - start


with Chain(SMOL, stages=3, flags=["--no-prefix-caching"]) as chain:
    expected = [ask(chain, job) for job in jobs()]
    assert all(cached == 0 for _, _, cached in expected), expected
    assert ask(chain, next(jobs()))[2] == 0, "off means off"
    assert chain.metric("commissure_prefix_cache_queries_total") == 0
full = [most(n_prompt) for _, n_prompt, _ in expected[:-1]] + [0]  # scores have to be computed

with Chain(SMOL, stages=3) as chain:
    cold = check(chain, expected, "first time")
    assert cold[0] == 0 and cold[1] == full[1] and 0 < cold[3] <= full[3], cold
    assert check(chain, expected, "again") == full
    assert check(chain, expected, "together", together=True) == full

    job = next(jobs())
    salted = [ask(chain, {**job, "cache_salt": salt})[2] for salt in ("ours", "ours", "theirs", "theirs")]
    assert salted == [0, full[0], 0, full[0]], salted
    assert ask(chain, {**job, "trace": "layers"})[2] == 0, "checksums are of computed rows"
    usage = [event for event in chain.stream("/v1/completions", {**job, "stream_options": {"include_usage": True}})][-1]["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == full[0], usage
    hits, queries = (chain.metric(f"commissure_prefix_cache_{name}_total") for name in ("hits", "queries"))
    assert 0 < hits < queries, (hits, queries)

    chain.post("/reset_prefix_cache", {})
    assert check(chain, expected, "after a reset")[0] == 0

    # Nothing runs, so no step fails: only what a stage knows of its own blocks can tell.
    for stage in (2, 1):
        pid = chain.state()["stages"][stage]["pid"]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not process_alive(pid), 15, "the stage is gone")
        chain.up()
        lost = check(chain, expected, f"after the death of stage {'abc'[stage]}")
        assert lost[0] == 0, lost
        assert check(chain, expected, "and again") == full

    ratios = []
    for turn in range(2 if QUICK else 5):
        cold_seconds = first_token_seconds(chain, f"turn {turn}")
        ratios.append(cold_seconds / first_token_seconds(chain, f"turn {turn}"))
    assert chain.metric("commissure_kv_cache_usage_perc") == 0, "kept blocks count as free"
    print(f"prefix cache: ok; {hits:.0f} of {queries:.0f} tokens reused, first token of {full[0]} + a few tokens x {statistics.median(ratios):.1f} sooner")

# Gemma: three layers see all, the others the last 512 positions and keep no more than that. A hit needs the last window.
STORY *= 1 if QUICK else 3 if ALL else 5
with Chain(GEMMA, stages=3, flags=["--no-prefix-caching", "--max-num-batched-tokens", "96"]) as chain:
    expected = [ask(chain, job) for job in jobs()]
    assert max(n_prompt for _, n_prompt, _ in expected) > (0 if QUICK else 640), expected
full = [most(n_prompt) for _, n_prompt, _ in expected[:-1]] + [0]
with Chain(GEMMA, stages=3) as chain:
    check(chain, expected, "Gemma, first time")
    assert check(chain, expected, "Gemma, again, together", together=True) == full
    pid = chain.state()["stages"][1]["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not process_alive(pid), 15, "the stage is gone")
    chain.up()
    assert check(chain, expected, "Gemma, after the death of stage b")[0] == 0
    assert check(chain, expected, "Gemma, and again") == full
    assert chain.metric("commissure_kv_window_blocks") > 0 and chain.metric("commissure_kv_window_blocks_used") == 0
# 22 blocks of windows for two sequences of up to 20: prompts wait for blocks that fall behind.
with Chain(GEMMA, stages=3, flags=["--max-num-seqs", "2", "--max-num-batched-tokens", "64", "--kv-tokens", "2560"]) as chain:
    assert chain.metric("commissure_kv_window_blocks") == 22
    check(chain, expected, "Gemma, few blocks")
    check(chain, expected, "Gemma, few blocks, together", together=True)
print("prefix cache with windows: ok")
