#!/usr/bin/env python3
"""A small random Gemma 4 with per-layer embeddings and shared keys and values, as safetensors, through the whole program: the
same tokens and log-probabilities from one stage and from three with every kind of cut, mapped and read, with bf16 and int8
keys and values, and after a stage that holds copies of another's keys and values was killed."""
import array
import json
import os
import pathlib
import random
import signal
import struct
import tempfile

from harness import ROOT, Chain, process_alive, wait_until

PROMPT = "The lighthouse keeper counted the ships at dusk. " * 12
BODY = {"prompt": PROMPT, "max_tokens": 40, "temperature": 0.8, "seed": 11, "logprobs": 2, "ignore_eos": True,
        "return_tokens_as_token_ids": True}


def write_model(folder):
    case = json.loads((ROOT / "tests/golden/families/gemma4.json").read_text())["cases"][0]
    assert case["name"] == "gemma4-e"
    tokenizer = json.loads((ROOT / "tests/golden/tokenizer/gemma.json").read_text())
    n_vocab = 1 + max(*tokenizer["model"]["vocab"].values(), *(token["id"] for token in tokenizer["added_tokens"]))
    config = case["config"] | {"vocab_size": n_vocab, "vocab_size_per_layer_input": n_vocab}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    dice = random.Random(4)
    header, data = {}, bytearray()
    for name, shape in case["shapes"].items():
        shape = [n_vocab, *shape[1:]] if "embed_tokens" in name else shape
        n_values = shape[0] * (shape[1] if len(shape) == 2 else 1)
        width = 0.25 if len(shape) == 1 else 0.2 if "embed_tokens." in name else 2 / shape[1] ** 0.5
        values = array.array("f", (dice.uniform(-width, width) + (len(shape) == 1) for _ in range(n_values)))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + 4 * n_values]}
        data += values.tobytes()
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


def answer(chain):
    choice = chain.post("/v1/completions", BODY)["choices"][0]
    assert len(choice["logprobs"]["tokens"]) == BODY["max_tokens"], choice
    return choice["logprobs"]


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    write_model(folder)
    expected = {}
    for kv in ("bf16", "int8"):
        with Chain(folder, stages=1, flags=["--kv-dtype", kv]) as chain:
            expected[kv] = answer(chain)
    assert expected["bf16"] != expected["int8"]
    # Owners 2 and 3, sharers 4 to 6: between owners and sharers, between the two owners, between sharers.
    for cuts, kv, flags in (("4,5", "bf16", []), ("3,6", "int8", []), ("1,4", "int8", ["--read-weights"])):
        with Chain(folder, cuts=cuts, flags=["--kv-dtype", kv, *flags]) as chain:
            assert answer(chain) == expected[kv], (cuts, kv)
            if cuts != "3,6":
                continue
            lost = chain.state()["stages"][2]["pid"]
            os.kill(lost, signal.SIGKILL)
            wait_until(lambda: not process_alive(lost), 15, "stage c is gone")
            assert answer(chain) == expected[kv], "the stage in its place has other keys and values"
print("gemma4: ok")
