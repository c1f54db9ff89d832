#!/usr/bin/env python3
"""SmolLM2 as a sharded float32 safetensors checkpoint: same ids as its GGUF file, log-probabilities within bf16 rounding
of the float32 goldens, end tokens and defaults of generation_config.json."""
import json
import pathlib
import subprocess
import tempfile

from harness import ROOT, SMOL, Chain, need, python_with
from logprob_test import measure

need(SMOL)
python = python_with("gguf", "gguf==0.17.1")
golden = json.loads((ROOT / "tests/golden/logprobs/smollm2-135m-q4_1.json").read_text())
texts = [text for text in golden["texts"] if text["name"] in {"german", "python"}]
corpus = (ROOT / "tests/golden/tokenizer/corpus.txt").read_text().split("\n")
lines = [json.loads(line) for line in corpus[:200] if line]


def tokenized(chain):
    return [chain.post("/tokenize", {"content": line})["tokens"] for line in lines]


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    subprocess.run([python, ROOT / "tests/e2e/gguf_to_safetensors.py", SMOL, folder], check=True)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2], "do_sample": False}))
    with Chain(SMOL, stages=1) as chain:
        expected = tokenized(chain)
    with Chain(folder, stages=3) as chain:
        assert tokenized(chain) == expected
        delta, agreement, n_scored = measure(chain, texts)
        print(f"{n_scored} tokens, mean |delta| {delta:.4f}, top-1 {100 * agreement:.2f} %")
        assert delta <= 0.02 and agreement >= 0.98
        body = {"prompt": "The capital of France is", "max_tokens": 8, "logprobs": 0, "return_tokens_as_token_ids": True}
        first = chain.post("/v1/completions", body)["choices"][0]
        assert first["finish_reason"] == "length", first
        assert first == chain.post("/v1/completions", body)["choices"][0], "do_sample: false is greedy"
    # A token that greedy decoding meets becomes one more end token.
    met = int(first["logprobs"]["tokens"][3].removeprefix("token_id:"))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, met], "do_sample": False}))
    with Chain(folder, stages=2) as chain:
        short = chain.post("/v1/completions", body)
        assert short["choices"][0]["finish_reason"] == "stop" and short["usage"]["completion_tokens"] <= 4, short
print("safetensors: ok")
