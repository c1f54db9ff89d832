#!/usr/bin/env python3
"""LoRA adapters over three stages: two of them and the base model at the same time give the tokens of each alone in one stage, also
when a stage is killed meanwhile. They come from the command line, from a folder when they are first asked for, and by requests; the
prefix cache never shares a beginning between them; broken and unknown ones fail their own requests and nothing else."""
import concurrent.futures
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time

from harness import PROGRAM, QUICK, SMOL, Chain, need, wait_until
from random_adapter import n_bytes, write_adapter

need(SMOL)

N_TOKENS = 12 if QUICK else 24
PROMPTS = ["The lighthouse keeper counted the ships at dusk and wrote their names into a green book. " * 6, "In winter the river", "A letter came for"]


def body(model, prompt, **more):
    return {"model": model, "prompt": prompt, "max_tokens": N_TOKENS, "temperature": 0, "ignore_eos": True, "logprobs": 1, **more}


def answer(chain, job):
    choice = chain.post("/v1/completions", job)
    assert choice["model"] == job["model"].split(":")[-1], choice["model"]
    return choice["choices"][0]["text"], json.dumps(choice["choices"][0]["logprobs"])


def streamed(chain, job):
    text = ""
    for event in chain.stream("/v1/completions", job):
        assert "error" not in event, event
        text += event["choices"][0]["text"]
    return text


def refused(chain, path, asked, status, *words):
    got, _, text = chain.request("POST", path, asked)
    assert got == status and all(word in text for word in words), (got, text)


def check_names(chain):
    models = {model["id"]: model for model in json.loads(chain.request("GET", "/v1/models")[2])["data"]}
    assert {"smollm2-135m", "poet", "clerk", "late"} <= set(models), models.keys()
    assert models["poet"]["parent"] == "smollm2-135m" and models["poet"]["root"] == "one", models["poet"]
    assert json.loads(chain.request("GET", "/v1/models/clerk")[2])["parent"] == "smollm2-135m"
    refused(chain, "/v1/completions", body("nobody", "x"), 404, "nobody", "smollm2-135m", "poet", "late")
    refused(chain, "/v1/completions", body("smollm2-135m", "x", lora_scale=2), 400, "lora_scale")
    refused(chain, "/v1/completions", body("poet", "x", lora_scale=1e9), 400, "lora_scale")
    chat = {"model": "smollm2-135m:poet", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4, "temperature": 0}
    assert chain.post("/v1/chat/completions", chat)["model"] == "poet"
    assert chain.post("/v1/messages", {**chat, "model": "poet"})["model"] == "poet"
    assert chain.post("/v1/responses", {"model": "poet", "input": "Hi", "max_output_tokens": 16})["model"] == "poet"
    assert chain.post("/api/chat", {**chat, "model": "poet:latest", "stream": False, "options": {"num_predict": 4}})["done"]


def check_prefixes(chain):
    """What one adapter computed is nobody else's, whatever the salt is called."""
    def cached(model, **more):
        usage = chain.post("/v1/completions", body(model, PROMPTS[0], max_tokens=1, **more))["usage"]
        return usage["prompt_tokens_details"]["cached_tokens"]

    chain.post("/reset_prefix_cache", {})
    assert [cached("poet"), cached("clerk"), cached("smollm2-135m"), cached("poet", lora_scale=0.5)] == [0, 0, 0, 0]
    again = [cached("poet"), cached("clerk"), cached("smollm2-135m"), cached("poet", lora_scale=0.5)]
    assert min(again) > 0 and len(set(again)) == 1, again
    assert cached("smollm2-135m", cache_salt="poet") == 0


def check_run_time(chain, folder, expected):
    """Loaded and unloaded by requests; from below the folder alone."""
    load = lambda name, path: chain.request("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(path)})
    write_adapter(folder / "more" / "deep", 1)
    (folder / "out").symlink_to("/etc")
    assert load("again", "more/deep")[0] == 200
    assert answer(chain, body("again", PROMPTS[1])) == expected["poet", PROMPTS[1]], "the same weights under another name"
    for name, path in (("x", "/etc"), ("x", folder / ".." / "one"), ("x", folder / "out"), ("x", "no/such"), ("a/b", "more/deep"),
                       ("again", "more/deep"), ("smollm2-135m", "more/deep"), ("x\n", "more/deep"), ("x", folder)):
        status, _, text = load(name, path)
        assert status == 400 and "root:" not in text, (name, path, status, text)
    assert chain.post("/v1/unload_lora_adapter", {"lora_name": "again"})["status"] == "success"
    refused(chain, "/v1/completions", body("again", "x"), 404, "again")
    refused(chain, "/v1/unload_lora_adapter", {"lora_name": "again"}, 404)
    assert answer(chain, body("poet", PROMPTS[1])) == expected["poet", PROMPTS[1]], "its twin stays"


def check_broken(chain, folder, expected):
    """A broken adapter fails its own requests."""
    broken = write_adapter(folder / "broken", 5)
    weights = (broken / "adapter_model.safetensors").read_bytes()
    (broken / "adapter_model.safetensors").write_bytes(weights[: len(weights) // 2])
    wide = write_adapter(folder / "wide", 6)
    config = json.loads((wide / "adapter_config.json").read_text())
    (wide / "adapter_config.json").write_text(json.dumps({**config, "peft_type": "IA3"}))
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        fine = pool.submit(answer, chain, body("clerk", PROMPTS[2]))
        failed = [pool.submit(chain.request, "POST", "/v1/completions", body(name, "x")) for name in ("broken", "wide")]
        assert [one.result()[0] for one in failed] == [400, 501], [one.result() for one in failed]
        assert fine.result() == expected["clerk", PROMPTS[2]]
    done = subprocess.run([PROGRAM, "up", "--local", "--detach", "--model", SMOL, "--name", "never", "--adapter", f"bad={broken}"],
                          env=chain.environment, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and "bad" in done.stderr and done.stderr.count("\n") <= 2, done.stderr


def check_kill(chain, expected):
    """Stage B dies under streams of all three: the same tokens, since it has its adapters again before it computes anything."""
    jobs = [body(model, prompt, max_tokens=N_TOKENS) for model, prompt in expected]
    with concurrent.futures.ThreadPoolExecutor(len(jobs)) as pool:
        before = chain.metric("commissure_generation_tokens_total") or 0
        running = [pool.submit(streamed, chain, job) for job in jobs]
        wait_until(lambda: (chain.metric("commissure_generation_tokens_total") or 0) > before + len(jobs), 60, "streams run")
        os.kill(chain.state()["stages"][1]["pid"], signal.SIGKILL)
        for job, stream in zip(jobs, running):
            assert stream.result() == expected[job["model"], job["prompt"]][0], job["model"]
    assert answer(chain, body("late", PROMPTS[1])), "one that was loaded before is there again"


with tempfile.TemporaryDirectory() as scratch:
    began = time.monotonic()
    scratch = pathlib.Path(scratch)
    one, two = write_adapter(scratch / "one", 1), write_adapter(scratch / "two", 2)
    folder = scratch / "folder"
    write_adapter(folder / "late", 3)
    flags = ["--adapter", f"poet={one}", "--adapter", f"clerk={two}", "--adapter-dir", str(folder), "--served-model-name", "smollm2-135m"]
    jobs = [(model, prompt) for prompt in PROMPTS for model in ("poet", "clerk", "smollm2-135m", "late")]
    with Chain(SMOL, stages=1, flags=[*flags, "--no-prefix-caching"]) as chain:
        expected = {job: answer(chain, body(*job)) for job in jobs}
    for prompt in PROMPTS:
        assert len({expected[model, prompt] for model in ("poet", "clerk", "smollm2-135m", "late")}) == 4, "adapters change the answer"

    print({job[0]: found[0][:40] for job, found in expected.items() if job[1] == PROMPTS[1]})

    with Chain(SMOL, stages=3, flags=flags) as chain:
        with concurrent.futures.ThreadPoolExecutor(len(jobs)) as pool:
            together = dict(zip(jobs, pool.map(lambda job: answer(chain, body(*job)), jobs)))
        assert together == expected, [job for job in jobs if together[job] != expected[job]]
        print(f"three stages, {len(jobs)} streams of three adapters and the base together: the tokens of one stage")
        check_names(chain)
        check_prefixes(chain)
        check_run_time(chain, folder, expected)
        check_broken(chain, folder, expected)
        check_kill(chain, expected)
        print("a stage killed under them: the same tokens")

    # Room for one adapter: the others wait for it, or push it out, and none of them fails.
    with Chain(SMOL, stages=1, flags=[*flags, "--adapter-bytes", str(n_bytes(rank=4) * 3 // 2)]) as chain:
        few = [job for job in jobs if job[1] == PROMPTS[1]]
        with concurrent.futures.ThreadPoolExecutor(len(few)) as pool:
            assert list(pool.map(lambda job: answer(chain, body(*job)), few)) == [expected[job] for job in few]
        status, _, text = chain.request("POST", "/v1/load_lora_adapter", {"lora_name": "x", "lora_path": "/etc"})
        assert status == 400, text
    with Chain(SMOL, stages=1, flags=["--adapter", f"poet={one}"]) as chain:
        refused(chain, "/v1/load_lora_adapter", {"lora_name": "x", "lora_path": "y"}, 403, "--adapter-dir")
    print(f"passed in {time.monotonic() - began:.0f} s")
