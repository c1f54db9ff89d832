#!/usr/bin/env python3
"""A small random Qwen 3.5, whose layers keep recurrent states beside keys and values, as safetensors, through the whole program: the
same tokens and log-probabilities from one stage and from three, alone and side by side, with a prefix that comes again, after sequences
were preempted, and while a stage in the middle or at the end is killed under running streams."""
import array
import concurrent.futures
import json
import os
import pathlib
import random
import signal
import struct
import tempfile
import threading

from harness import ROOT, Chain, process_alive, wait_until

PROMPT = "The lighthouse keeper counted the ships at dusk. "
N_STREAMS = 4
N_TOKENS = 160


def write_model(folder):
    case = json.loads((ROOT / "tests/golden/families/qwen35.json").read_text())["cases"][0]
    assert case["name"] == "qwen35"
    tokenizer = json.loads((ROOT / "tests/golden/tokenizer/qwen35.json").read_text())
    n_vocab = 1 + max(*tokenizer["model"]["vocab"].values(), *(token["id"] for token in tokenizer["added_tokens"]))
    (folder / "config.json").write_text(json.dumps(case["config"] | {"vocab_size": n_vocab}))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    dice = random.Random(4)
    header, data = {}, bytearray()
    for name, shape in case["shapes"].items():
        shape = [n_vocab, *shape[1:]] if "embed_tokens" in name or "lm_head" in name else shape
        n_values = 1
        for size in shape:
            n_values *= size
        width = 0.25 if len(shape) == 1 else 0.2 if "embed_tokens." in name else 2 / shape[-1] ** 0.5
        centre = -2 if "A_log" in name else 1 if "linear_attn.norm" in name else 0
        values = array.array("f", (dice.uniform(-width, width) + centre for _ in range(n_values)))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + 4 * n_values]}
        data += values.tobytes()
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


def body(index):
    return {"prompt": f"Chapter {index}. " + PROMPT * (6 + 4 * index), "max_tokens": N_TOKENS, "temperature": 0.8, "seed": index,
            "logprobs": 2, "ignore_eos": True, "return_tokens_as_token_ids": True}


def answer(chain, index, on_event=lambda: None):
    tokens, scores = [], []
    for event in chain.stream("/v1/completions", body(index)):
        assert "error" not in event, event
        logprobs = event["choices"][0].get("logprobs") or {}
        tokens += logprobs.get("tokens") or []
        scores += logprobs.get("token_logprobs") or []
        on_event()
    assert len(tokens) == N_TOKENS, len(tokens)
    return tokens, scores


def together(chain, on_event=lambda: None):
    with concurrent.futures.ThreadPoolExecutor(N_STREAMS) as pool:
        return list(pool.map(lambda index: answer(chain, index, on_event), range(N_STREAMS)))


def kill_under_streams(chain, stage):
    """All streams' answers while the stage is killed once, in their midst."""
    lock, seen = threading.Lock(), [0]

    def on_event():
        with lock:
            seen[0] += 1
            if seen[0] != N_STREAMS * N_TOKENS // 3:
                return
        pid = chain.state()["stages"][stage]["pid"]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not process_alive(pid), 15, f"stage {stage} is gone")

    answers = together(chain, on_event)
    assert seen[0] >= N_STREAMS * N_TOKENS // 3
    return answers


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    write_model(folder)
    with Chain(folder, stages=1) as chain:
        expected = [answer(chain, index) for index in range(N_STREAMS)]
        assert together(chain) == expected, "side by side"
        chain.post("/v1/completions", body(1))
        usage = chain.post("/v1/completions", body(1))["usage"]
        assert (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0) == 0, usage
    with Chain(folder, cuts="1,3") as chain:
        assert together(chain) == expected, "three stages"
        for stage in (1, 2, 1):
            assert kill_under_streams(chain, stage) == expected, f"stage {stage} was killed"
        assert together(chain) == expected
    # Room for one long sequence and a bit: the others are preempted and computed again.
    with Chain(folder, cuts="2", flags=["--kv-tokens", "768", "--max-model-len", "768"]) as chain:
        for _ in range(5):  # any two of them are too many, if they run at the same time for long enough
            assert together(chain) == expected, "preempted"
            if chain.metric("commissure_num_preemptions_total") > 0:
                break
        assert chain.metric("commissure_num_preemptions_total") > 0
print("qwen35: ok")
