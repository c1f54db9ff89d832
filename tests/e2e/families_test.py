#!/usr/bin/env python3
"""Tiny random checkpoints of some families (safetensors, tokenizer.json) through the real program: three stages answer, and
answer as one stage does, in F32 and in BF16. Seconds in all: what is tried is the way of a folder to an answer."""
import array
import json
import pathlib
import random
import shutil
import tempfile

from harness import ROOT, Chain

COMMON = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
          "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "head_dim": 16}
NORMS = ["input_layernorm", "post_attention_layernorm"]


def fused(_):
    return {"self_attn.qkv_proj": (128, 64), "self_attn.o_proj": (64, 64), "mlp.gate_up_proj": (192, 64), "mlp.down_proj": (64, 96)}


def separate(_):
    return {"self_attn.q_proj": (64, 64), "self_attn.k_proj": (32, 64), "self_attn.v_proj": (32, 64), "self_attn.o_proj": (64, 64),
            "mlp.gate_proj": (96, 64), "mlp.up_proj": (96, 64), "mlp.down_proj": (64, 96)}


def experts(config):
    shapes = {name: shape for name, shape in separate(config).items() if not name.startswith("mlp.")}
    shapes |= {"self_attn.q_norm": (16,), "self_attn.k_norm": (16,), "mlp.gate": (config["num_experts"], 64)}
    for i in range(config["num_experts"]):
        shapes |= {f"mlp.experts.{i}.gate_proj": (32, 64), f"mlp.experts.{i}.up_proj": (32, 64), f"mlp.experts.{i}.down_proj": (64, 32)}
    return shapes


def blocks(config):
    """gpt-oss as published: experts in MXFP4, all else with biases."""
    n, d_ff = config["num_local_experts"], config["intermediate_size"]
    shapes = {name: shape for name, shape in separate(config).items() if not name.startswith("mlp.")}
    shapes |= {f"self_attn.{name}_proj.bias": (shapes[f"self_attn.{name}_proj"][0],) for name in "qkvo"}
    return shapes | {
        "self_attn.sinks": (4,), "mlp.router": (n, 64), "mlp.router.bias": (n,),
        "mlp.experts.gate_up_proj_blocks": (n, 2 * d_ff, 2, 16), "mlp.experts.gate_up_proj_scales": (n, 2 * d_ff, 2),
        "mlp.experts.gate_up_proj_bias": (n, 2 * d_ff), "mlp.experts.down_proj_blocks": (n, 64, d_ff // 32, 16),
        "mlp.experts.down_proj_scales": (n, 64, d_ff // 32), "mlp.experts.down_proj_bias": (n, 64)}


# family, tokenizer, what config.json says beside COMMON, norms of a layer, its other tensors, type
FAMILIES = [
    ("gemma2", "gemma", {"sliding_window": 24, "query_pre_attn_scalar": 16},
     NORMS + ["pre_feedforward_layernorm", "post_feedforward_layernorm"], separate, "BF16"),
    ("phi3", "mistral", {"tie_word_embeddings": True, "partial_rotary_factor": 0.75, "original_max_position_embeddings": 64,
                         "rope_scaling": {"type": "longrope", "short_factor": [1] * 6, "long_factor": [1, 1.5, 2, 3, 5, 8]}},
     NORMS, fused, "F32"),
    ("qwen3_moe", "qwen2", {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
                            "norm_topk_prob": True}, NORMS, experts, "BF16"),
    ("gpt_oss", "qwen2", {"num_local_experts": 5, "num_experts_per_tok": 3, "sliding_window": 24}, NORMS, blocks, "BF16"),
]


def values(rng, shape, dtype):
    """Random bytes of a tensor: vectors about 1, matrices about 0."""
    n = 1
    for size in shape:
        n *= size
    centre, spread = (1.0, 0.25) if len(shape) == 1 else (0.0, 2 * shape[-1] ** -0.5)
    floats = array.array("f", (centre + spread * rng.uniform(-1, 1) for _ in range(n)))
    if dtype == "U8":  # codes, or exponents, of which none may be large
        return rng.randbytes(n) if shape[-1] == 16 else bytes(rng.randrange(119, 123) for _ in range(n))
    if dtype == "F32":
        return floats.tobytes()
    return b"".join([floats.tobytes()[i + 2:i + 4] for i in range(0, 4 * n, 4)])  # the upper halves


def write_model(folder, family, tokenizer, more, norms, tensors_of, dtype):
    source = ROOT / f"tests/golden/tokenizer/{tokenizer}.json"
    vocabulary = json.loads(source.read_text())
    ids = [*vocabulary["model"]["vocab"].values(), *(token["id"] for token in vocabulary["added_tokens"])]
    config = COMMON | {"model_type": family, "vocab_size": max(ids) + 1} | more
    shapes = {"model.embed_tokens.weight": (config["vocab_size"], 64), "model.norm.weight": (64,)}
    if not config.get("tie_word_embeddings", family == "gemma2"):
        shapes["lm_head.weight"] = (config["vocab_size"], 64)
    for layer in range(COMMON["num_hidden_layers"]):
        parts = dict.fromkeys(norms, (64,)) | tensors_of(config)
        for name, shape in parts.items():
            is_whole = name.endswith((".bias", "_bias", "sinks", "_blocks", "_scales"))
            shapes[f"model.layers.{layer}.{name}{'' if is_whole else '.weight'}"] = shape
    rng, header, data = random.Random(5), {}, []
    offset = 0
    for name, shape in shapes.items():
        own = "U8" if name.endswith(("_blocks", "_scales")) else dtype
        data.append(values(rng, shape, own))
        header[name] = {"dtype": own, "shape": list(shape), "data_offsets": [offset, offset + len(data[-1])]}
        offset += len(data[-1])
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + b"".join(data))
    (folder / "config.json").write_text(json.dumps(config))
    shutil.copy(source, folder / "tokenizer.json")


def answer(folder, stages):
    # Long enough to pass the window and the border of a block.
    body = {"prompt": "Three stages answer as one does, whatever the family. " * 4, "max_tokens": 12, "temperature": 0, "logprobs": 3,
            "ignore_eos": True}
    with Chain(folder, stages=stages, flags=["--max-num-batched-tokens", "64"]) as chain:
        completion = chain.post("/v1/completions", body)
        assert completion["usage"]["completion_tokens"] == 12, completion
        return completion["choices"][0]


for family, *rest in FAMILIES:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_model(folder, family, *rest)
        whole, cut = answer(folder, 1), answer(folder, 3)
        assert cut == whole, f"{family}: {whole} in one stage, {cut} in three"
        assert len(set(whole["logprobs"]["token_logprobs"])) > 1, whole
        print(f"{family}: {whole['text']!r}")
print("families: ok")
