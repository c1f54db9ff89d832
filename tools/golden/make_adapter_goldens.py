#!/usr/bin/env python3
"""Makes tests/golden/adapters.json: log-probabilities of every next token in float32, by transformers with PEFT, of small
random models (make_family_goldens.py) that each have a small random adapter.

usage: make_adapter_goldens.py [FILE]      (needs torch, transformers, peft, gguf; FILE defaults to tests/golden/adapters.json)

No weights are stored: each value follows from its tensor's name in adapter_model.safetensors (values() here and in
tests/support/adapter_model.cc). Each case: the adapter_config.json that PEFT saves, the shapes of its tensors, the
log-probability of the token that follows each position of the base's case, and the likeliest token there. Tolerances are the
reader's business.
"""
import json
import pathlib
import sys
import tempfile

import numpy as np
import peft
import safetensors.torch
import torch
import transformers

import make_family_goldens as families

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
PLAIN = {"r": 4, "lora_alpha": 6}
PATTERNS = {"r": 4, "lora_alpha": 8, "rank_pattern": {"q_proj": 2, r".*\.1\.mlp\.up_proj": 9, "model.layers.2.self_attn.o_proj": 1},
            "alpha_pattern": {r"^model\.layers\.0\.mlp\.down_proj": 3, "k_proj|v_proj": 2.5}}

# name, the base's name in tests/golden/families, what the adapter's configuration says beside its modules
CASES = [
    ("llama-plain", "llama3", PLAIN),
    ("llama-rslora", "llama3", {"r": 9, "lora_alpha": 4, "use_rslora": True}),
    ("llama-dora", "llama3", PLAIN | {"use_dora": True}),
    ("llama-bias-dora", "llama-bias", PLAIN | {"use_dora": True}),
    ("llama-patterns", "llama3", PATTERNS),
    ("gemma3-plain", "gemma3", PLAIN),
    ("gemma3-dora", "gemma3", {"r": 16, "lora_alpha": 12, "use_dora": True, "target_modules": ["q_proj", "v_proj", "down_proj"]}),
    ("qwen3-plain", "qwen3", PLAIN),
    ("qwen3-patterns-dora", "qwen3", PATTERNS | {"use_dora": True, "use_rslora": True}),
    # Rows of queries, keys and values are one matrix, so are gate and up.
    ("phi3-fused", "phi3-window", PLAIN | {"use_dora": True, "target_modules": ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]}),
    # Branches are scaled, attention has biases.
    ("granite-dora", "granite", PLAIN | {"use_dora": True}),
    ("gemma4-shared", "gemma4-e", PLAIN | {"target_modules": ["q_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]}),
]


def values(name: str, shape: torch.Size) -> torch.Tensor:
    noise = families.noise(name, shape.numel())
    if len(shape) == 1:
        noise = np.float32(1.25) + np.float32(0.5) * noise  # magnitudes: rows of the small models are about so long
    elif ".lora_A." in name:
        noise = noise * (np.float32(2.0) / np.sqrt(np.float32(shape[1])))
    else:
        noise = noise * (np.float32(0.5) / np.sqrt(np.float32(shape[1])))
    return torch.from_numpy(noise.reshape(shape))


def saved(model: torch.nn.Module, config: peft.LoraConfig) -> tuple[str, dict, dict]:
    """The folder of an adapter with our values, its configuration and the shapes of its tensors."""
    folder = tempfile.mkdtemp()
    peft.get_peft_model(model, config).save_pretrained(folder)
    tensors = safetensors.torch.load_file(f"{folder}/adapter_model.safetensors")
    tensors = {name: values(name, tensor.shape) for name, tensor in tensors.items()}
    safetensors.torch.save_file(tensors, f"{folder}/adapter_model.safetensors", {"format": "pt"})
    written = json.loads(pathlib.Path(folder, "adapter_config.json").read_text())
    return folder, written, {name: list(tensor.shape) for name, tensor in tensors.items()}


def case(name: str, base: str, changes: dict) -> dict:
    row = next(row for rows in families.FILES.values() for row in rows if row[0] == base)
    config = peft.LoraConfig(**({"target_modules": ALL, "task_type": "CAUSAL_LM"} | changes))
    folder, written, shapes = saved(families.make_model(row[1], row[2], "separate")[1], config)
    _, plain, _ = families.make_model(row[1], row[2], "separate")
    model = peft.PeftModel.from_pretrained(plain, folder).eval()
    ids = (np.abs(families.noise(f"ids of {base}", families.N_TOKENS)) * families.VOCAB).astype(int).tolist()
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].double()
        with model.disable_adapter():
            moved = (model(torch.tensor([ids])).logits[0].double() - logits).abs().mean()
    scores = torch.log_softmax(logits, dim=-1)[:-1]
    print(f"{name}: standard deviation of the logits {logits.std():.3f}, moved by {moved:.3f}")
    return {"name": name, "base": base, "config": written, "shapes": shapes,
            "logprobs": [round(x, 6) for x in scores.gather(1, torch.tensor(ids[1:])[:, None])[:, 0].tolist()],
            "top1": scores.argmax(-1).tolist()}


def main() -> None:
    file = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[2] / "tests/golden/adapters.json")
    header = {"generator": "tools/golden/make_adapter_goldens.py", "seed": families.SEED,
              "program": f"peft {peft.__version__}, transformers {transformers.__version__}, torch {torch.__version__}, float32, eager attention"}
    rows = [json.dumps(case(*row), separators=(",", ":")) for row in CASES]
    file.write_text('{"header":' + json.dumps(header) + ',\n"cases":[\n' + ",\n".join(rows) + "\n]}\n")


if __name__ == "__main__":
    main()
