#!/usr/bin/env python3
"""Splitting, chunking and company never change an answer: same tokens and the same log-probabilities to the last digit."""
import concurrent.futures
import json
import math

from harness import ALL, GEMMA, QUICK, SMOL, Chain, need

need(SMOL, GEMMA)

PARAGRAPH = ("The lighthouse keeper counted the ships at dusk, wrote their names into a green book, and closed it with a ribbon. "
             "In winter there were fewer names and more ribbon. ")
PROMPTS = [
    "The capital of France is",
    "def fibonacci(n):\n    ",
    "Wer abends spät nach Hause kommt, der",
    PARAGRAPH * (2 if QUICK else 4),
]
if not QUICK:
    PROMPTS.append(PARAGRAPH * 17)  # longer than one chunk and than Gemma's window


def joined(choices):
    """The log-probabilities of a stream as an answer in one piece has them."""
    parts = [choice["logprobs"] for choice in choices if choice.get("logprobs")]
    if "content" in parts[0]:
        return {"content": [entry for part in parts for entry in part["content"]], "refusal": None}
    return {name: [entry for part in parts for entry in part[name]] for name in parts[0]}


def scored(chain, path, body):
    """Log-probabilities of prompt and answer, the same streamed and in one piece."""
    answer = chain.post(path, body)
    choice = answer["choices"][0]
    events = list(chain.stream(path, body))
    streamed = [event["choices"][0] for event in events]
    assert joined(streamed) == choice["logprobs"], (path, body)
    places = [holder["prompt_logprobs"] for holder in events + streamed if "prompt_logprobs" in holder]
    assert places == [choice.get("prompt_logprobs") or answer["prompt_logprobs"]], (path, body)
    return str(choice.get("text") or choice["message"]["content"]), json.dumps([choice["logprobs"], places])


def score_all(chain, model):
    """Prompt log-probabilities, and those before and after the samplers, of both endpoints; the Gemma here cannot chat."""
    sampling = {"max_tokens": 8, "temperature": 0.9, "top_k": 12, "repetition_penalty": 1.1, "seed": 3, "ignore_eos": True, "prompt_logprobs": 2}
    results = []
    for mode in ("raw_logprobs", "processed_logprobs"):
        body = {**sampling, "logprobs_mode": mode}
        results.append(scored(chain, "/v1/completions", {**body, "prompt": PROMPTS[2], "logprobs": 20}))
        if model is SMOL:
            chat = {**body, "messages": [{"role": "user", "content": PROMPTS[0]}], "logprobs": True, "top_logprobs": 20}
            results.append(scored(chain, "/v1/chat/completions", chat))
    half = len(results) // 2
    for raw, processed in zip(results[:half], results[half:]):
        assert raw[0] == processed[0] and raw[1] != processed[1], "the mode changes the numbers, not the answer"
    for tops in json.loads(results[half][1])[0]["top_logprobs"]:
        assert abs(sum(math.exp(logprob) for logprob in tops.values()) - 1) < 1e-5, "twelve tokens are left, and all are shown"
    return results


def answers(chain, model, together):
    """Greedy completions with the scores of every prompt token, and seeded ones without, each with log-probabilities."""
    jobs = []
    for prompt in PROMPTS:
        common = {"prompt": prompt, "max_tokens": 16, "ignore_eos": True}
        jobs.append({**common, "temperature": 0, "logprobs": 3, "echo": True})
        if len(prompt) < len(PARAGRAPH) * 24:  # the long one is computed once a round
            jobs.append({**common, "temperature": 0.9, "top_k": 50, "seed": 7, "logprobs": 1})

    def ask(job):
        choice = chain.post("/v1/completions", job)["choices"][0]
        return choice["text"], json.dumps(choice["logprobs"])

    with concurrent.futures.ThreadPoolExecutor(len(jobs) if together else 1) as pool:
        return list(pool.map(ask, jobs)) + ([] if together else score_all(chain, model))


def compare(name, expected, found):
    for index, (want, have) in enumerate(zip(expected, found)):
        assert want == have, f"{name}: answer {index} differs\nwant {want[0][-200:]!r}\nhave {have[0][-200:]!r}\n{want[1][-300:]}\n{have[1][-300:]}"
    print(f"{name}: {len(found)} answers identical")


for model, layers in ((SMOL, 30), (GEMMA, 18)):
    # A prompt's second answer is to be computed, too.
    with Chain(model, stages=1, flags=["--no-prefix-caching"]) as whole:
        expected = answers(whole, model, together=False)
        compare(f"{model.name}, one stage, {len(expected)} at once", expected, answers(whole, model, together=True))
    thirds = f"{layers // 3},{2 * layers // 3}"
    many = ["1,2,3,5,8,13"] if ALL or (model is GEMMA and not QUICK) else []
    for cuts in [thirds, *many, *(["1", f"{layers // 2}"] if ALL else [])]:
        with Chain(model, cuts=cuts, flags=["--no-prefix-caching"]) as split:
            if cuts == thirds:
                compare(f"{model.name}, cut at {cuts}, alone", expected, answers(split, model, together=False))
            compare(f"{model.name}, cut at {cuts}, together", expected, answers(split, model, together=True))

    if model is SMOL and not ALL:
        continue
    # int8 KV: other numbers, as firm. Steps of 48 rows cut the prompts elsewhere; the second round hits the prefix cache.
    int8 = ["--kv-dtype", "int8"]
    with Chain(model, stages=1, flags=[*int8, "--no-prefix-caching"]) as whole:
        bf16, expected = expected, answers(whole, model, together=False)
        assert any(want != have for want, have in zip(bf16, expected)), "int8 KV changed nothing"
    with Chain(model, cuts=thirds, flags=[*int8, "--max-num-batched-tokens", "48"]) as split:
        assert all(stage["kv_dtype"] == "int8" for stage in split.status()["stages"])
        compare(f"{model.name}, int8 KV, cut at {thirds}, together, chunks of 48", expected, answers(split, model, together=True))
        compare(f"{model.name}, int8 KV, cut at {thirds}, alone, prefix hits", expected, answers(split, model, together=False))
        assert split.metric("commissure_prefix_cache_hits_total") > 0
print("split bits: ok")
