#!/usr/bin/env python3
"""Makes tests/golden/logprobs/*.json: log-probabilities of every next token in float32, by Hugging Face transformers on
the exactly dequantised weights of a GGUF file.

usage: make_logprob_goldens.py MODEL.gguf NAME      (needs torch, transformers, gguf)

Each output: the texts' token ids (the model's own tokenizer, BOS where it wants one), for every position the
log-probability of the token that really follows, and the likeliest token. Tolerances are the reader's business.
"""
import hashlib
import json
import pathlib
import sys

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer


def main() -> None:
    model_path, name = pathlib.Path(sys.argv[1]), sys.argv[2]
    folder = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/logprobs"
    texts = json.loads((folder / "texts.json").read_text())
    by_name = {item["name"]: item.get("text") for item in texts}
    tokenizer = AutoTokenizer.from_pretrained(model_path.parent, gguf_file=model_path.name)
    model = AutoModelForCausalLM.from_pretrained(
        model_path.parent, gguf_file=model_path.name, dtype=torch.float32, attn_implementation="eager")
    model.eval()
    entries, n_scored = [], 0
    for item in texts:
        text = item.get("text") or "\n\n".join(by_name[part] for part in item["join"])
        ids = tokenizer(text, add_special_tokens=True)["input_ids"]
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0].double()
        scores = torch.log_softmax(logits, dim=-1)
        following = torch.tensor(ids[1:])
        entries.append({
            "name": item["name"],
            "ids": ids,
            "logprobs": [round(x, 5) for x in scores[:-1].gather(1, following[:, None])[:, 0].tolist()],
            "top1": scores[:-1].argmax(-1).tolist(),
        })
        n_scored += len(ids) - 1
    header = {
        "generator": "tools/golden/make_logprob_goldens.py",
        "program": f"transformers {transformers.__version__}, torch {torch.__version__}, float32, eager attention",
        "model": model_path.name,
        "sha256": hashlib.sha256(model_path.read_bytes()).hexdigest(),
        "n_scored": n_scored,
    }
    target = folder / f"{name}.json"
    lines = [json.dumps(entry, separators=(",", ":")) for entry in entries]
    target.write_text('{"header": ' + json.dumps(header) + ',\n"texts": [\n' + ",\n".join(lines) + "\n]}\n")
    print(f"{target}: {len(entries)} texts, {n_scored} scored tokens, mean logprob "
          f"{sum(sum(e['logprobs']) for e in entries) / n_scored:.4f}")


if __name__ == "__main__":
    main()
