#!/usr/bin/env python3
"""Makes tests/golden/families/*.json: log-probabilities of every next token in float32, by Hugging Face transformers
on small random checkpoints, one or more of every family.

usage: make_family_goldens.py [FOLDER [NAME ...]]      (needs torch, transformers, gguf; FOLDER defaults to
tests/golden/families, NAME, of a file without .json, to all)

No weights are stored: each value follows from its tensor's name (noise() here and in tests/support/family_model.cc), so a
reader that takes a tensor for another one fails. Each case: the config.json that transformers saves, the GGUF header and
tensor names as llama.cpp's gguf package spells them, token ids, the log-probability of the token that follows each
position, and the likeliest token there. Tolerances are the reader's business.
"""
import json
import pathlib
import re
import sys

import gguf
import numpy as np
import torch
import transformers
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

SEED = 20261129
N_TOKENS = 150  # passes windows of 24 and two borders of blocks of 64
VOCAB = 200

COMMON = {"vocab_size": VOCAB, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
          "num_key_value_heads": 2, "max_position_embeddings": 1024, "rms_norm_eps": 1e-6, "bos_token_id": 1, "eos_token_id": 2,
          "pad_token_id": None}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 64, "rope_theta": 500000.0}

LONGROPE = {"rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 64}
FACTORS = {"short_factor": [1.0, 1.125, 1.25, 1.5, 1.75, 2.0], "long_factor": [1.0, 1.5, 2.5, 4.0, 8.0, 16.0]}

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "rope_theta": 10000.0}

# name, model_type, what differs from COMMON, GGUF architecture
CASES = [
    ("qwen2-tied", "qwen2", {"tie_word_embeddings": True, "rope_theta": 1e6}, "qwen2"),
    # A window from layer 1 on; GGUF files have no word for it.
    ("qwen2-window", "qwen2", {"use_sliding_window": True, "sliding_window": 24, "max_window_layers": 1}, None),
    ("qwen2-untied", "qwen2", {"num_attention_heads": 6, "hidden_size": 96, "rope_theta": 1e6}, "qwen2"),
    ("qwen3", "qwen3", {"head_dim": 32, "rope_theta": 1e6}, "qwen3"),
    ("qwen3-tied", "qwen3", {"head_dim": 16, "tie_word_embeddings": True, "num_key_value_heads": 1}, "qwen3"),
    ("mistral-window", "mistral", {"sliding_window": 24, "rms_norm_eps": 1e-5}, "llama"),
    ("mistral-nemo", "mistral", {"sliding_window": None, "head_dim": 32, "rope_theta": 1e6}, "llama"),
    ("llama3", "llama", {"rope_scaling": LLAMA3, "rope_theta": 500000.0, "tie_word_embeddings": True}, "llama"),
    ("llama-bias", "llama", {"attention_bias": True}, "llama"),
    ("qwen3-yarn", "qwen3", {"head_dim": 32, "rope_scaling": YARN, "rope_theta": 10000.0, "max_position_embeddings": 256}, "qwen3"),
    ("mistral-yarn", "mistral", {"sliding_window": None, "max_position_embeddings": 256,
                                 "rope_scaling": YARN | {"mscale": 1.0, "mscale_all_dim": 0.5, "beta_fast": 8.0}}, None),
    ("smollm3", "smollm3", {"num_hidden_layers": 4, "rope_theta": 50000.0}, "smollm3"),
    ("smollm3-list", "smollm3", {"no_rope_layers": [0, 1, 0], "tie_word_embeddings": False}, None),
    ("olmo2", "olmo2", {"rope_theta": 500000.0}, "olmo2"),
    # The caps are low enough to bend this model's scores and logits.
    ("gemma2", "gemma2", {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 24, "attn_logit_softcapping": 2.0,
                          "final_logit_softcapping": 0.25}, "gemma2"),
    ("gemma2-scalar", "gemma2", {"head_dim": 32, "query_pre_attn_scalar": 20, "sliding_window": 24, "num_hidden_layers": 4,
                                 "attn_logit_softcapping": None, "final_logit_softcapping": None}, None),
    ("phi3-window", "phi3", {"sliding_window": 24, "rms_norm_eps": 1e-5}, "phi3"),
    ("phi3-long", "phi3", {"rope_parameters": LONGROPE | FACTORS, "partial_rotary_factor": 0.75, "tie_word_embeddings": True,
                           "original_max_position_embeddings": 64, "max_position_embeddings": 256}, "phi3"),
    # 150 tokens are within the original context: the short factors.
    ("phi3-short", "phi3", {"rope_parameters": LONGROPE | FACTORS | {"original_max_position_embeddings": 1024},
                            "partial_rotary_factor": 0.75, "original_max_position_embeddings": 1024}, None),
    ("qwen3-moe", "qwen3_moe", {"head_dim": 32, "num_experts": 8, "num_experts_per_tok": 4, "moe_intermediate_size": 32,
                                "norm_topk_prob": True}, "qwen3moe"),
    # Experts in every second layer but the last of them, in the packed tensors that libraries hold in memory.
    ("qwen3-moe-packed", "qwen3_moe", {"head_dim": 16, "num_experts": 5, "num_experts_per_tok": 3, "moe_intermediate_size": 32,
                                       "norm_topk_prob": False, "num_hidden_layers": 6, "decoder_sparse_step": 2,
                                       "mlp_only_layers": [5]}, None),
    # As many are used as leave the last one little weight: one that flips in bf16 would be all that a mean tells.
    ("qwen2-moe", "qwen2_moe", {"num_experts": 6, "num_experts_per_tok": 3, "moe_intermediate_size": 32,
                                "shared_expert_intermediate_size": 64, "tie_word_embeddings": True}, "qwen2moe"),
    # Biases are scaled with the branch.
    ("granite", "granite", {"embedding_multiplier": 12.0, "logits_scaling": 1.25, "residual_multiplier": 0.375,
                            "attention_multiplier": 0.3125, "attention_bias": True, "tie_word_embeddings": True}, "granite"),
]

GEMMA4 = {"vocab_size_per_layer_input": VOCAB, "sliding_window": 24, "final_logit_softcapping": 0.125, "tie_word_embeddings": True,
          "rope_parameters": {"sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
                              "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1e6}}}


def layers(kinds: str) -> list[str]:
    return [{"s": "sliding_attention", "f": "full_attention"}[kind] for kind in kinds]


GEMMA4_CASES = [
    # Layers 4 to 6 read the keys and values of layers 2 (sliding) and 3 (full), and are twice as wide.
    ("gemma4-e", "gemma4_text", GEMMA4 | {
        "num_hidden_layers": 7, "layer_types": layers("sfsfssf"), "num_kv_shared_layers": 3, "use_double_wide_mlp": True,
        "head_dim": 16, "global_head_dim": 32, "hidden_size_per_layer_input": 32}, "gemma4"),
    # Values are keys where all positions are seen, with heads of their own number.
    ("gemma4-dense", "gemma4_text", GEMMA4 | {
        "layer_types": layers("ssf"), "attention_k_eq_v": True, "num_global_key_value_heads": 1, "head_dim": 32,
        "global_head_dim": 512, "hidden_size_per_layer_input": 0, "use_bidirectional_attention": "vision"}, "gemma4"),
    # Experts beside a dense branch.
    ("gemma4-experts-packed", "gemma4_text", GEMMA4 | {
        "layer_types": layers("ssf"), "attention_k_eq_v": True, "num_global_key_value_heads": 1, "head_dim": 16,
        "global_head_dim": 32, "hidden_size_per_layer_input": 0, "enable_moe_block": True, "num_experts": 8, "top_k_experts": 3,
        "moe_intermediate_size": 32}, "gemma4"),
]

GPT_OSS = {"num_hidden_layers": 3, "head_dim": 16, "num_local_experts": 6, "num_experts_per_tok": 5, "sliding_window": 24,
           "max_position_embeddings": 256, "rms_norm_eps": 1e-5,
           "rope_parameters": YARN | {"truncate": False, "rope_theta": 150000.0, "beta_fast": 8.0}}

GPT_OSS_CASES = [
    ("gpt-oss", "gpt_oss", GPT_OSS, "gpt-oss"),
    ("gpt-oss-mxfp4", "gpt_oss", GPT_OSS | {"num_local_experts": 5, "num_experts_per_tok": 4}, "gpt-oss"),
]

# Three layers of four keep a state. Two value heads share a key head, so that GGUF reorders them; their width is no
# multiple of what kernels take at once.
QWEN35 = {"num_hidden_layers": 4, "head_dim": 32, "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 16,
          "linear_value_head_dim": 48, "linear_conv_kernel_dim": 4,
          "rope_parameters": {"rope_type": "default", "rope_theta": 1000.0, "partial_rotary_factor": 0.25, "mrope_section": [2, 1, 1],
                              "mrope_interleaved": True}}
QWEN35_MOE = QWEN35 | {"num_experts": 5, "num_experts_per_tok": 4, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 64}

QWEN35_CASES = [
    ("qwen35", "qwen3_5_text", QWEN35, "qwen35"),
    # A head for each value head, two layers of attention side by side, which GGUF has no word for, another kernel.
    ("qwen35-tied", "qwen3_5_text", QWEN35 | {"tie_word_embeddings": True, "linear_num_value_heads": 2, "linear_value_head_dim": 32,
     "linear_conv_kernel_dim": 3,
     "layer_types": ["linear_attention", "linear_attention", "full_attention", "full_attention"]}, None),
    ("qwen35-moe", "qwen3_5_moe_text", QWEN35_MOE, "qwen35moe"),
    ("qwen35-moe-packed", "qwen3_5_moe_text", QWEN35_MOE, "qwen35moe"),
]

# 150 tokens pass the original context four times.
MINISTRAL3_CASES = [
    ("ministral3", "ministral3", {"head_dim": 32, "rms_norm_eps": 1e-5, "max_position_embeddings": 256, "rope_parameters": YARN | {
        "original_max_position_embeddings": 32, "beta_fast": 8.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0,
        "llama_4_scaling_beta": 0.5}}, "mistral3"),
    # The factor of cosines and sines is not 1.
    ("ministral3-tied", "ministral3", {"head_dim": 16, "tie_word_embeddings": True, "max_position_embeddings": 256, "rope_parameters": YARN | {
        "original_max_position_embeddings": 48, "mscale": 1.0, "mscale_all_dim": 0.5, "llama_4_scaling_beta": 0.25}}, "mistral3"),
]

# The window and both rotations of Gemma 3; the whole model that tests run is a GGUF.
GEMMA3_CASES = [
    ("gemma3", "gemma3_text", {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 24, "tie_word_embeddings": True,
                               "layer_types": layers("ssf"), "rope_parameters": {
                                   "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
                                   "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}}}, None),
]

FILES = {"cases": CASES, "gemma3": GEMMA3_CASES, "ministral3": MINISTRAL3_CASES, "gemma4": GEMMA4_CASES, "gpt_oss": GPT_OSS_CASES, "qwen35": QWEN35_CASES}


def noise(name: str, n: int) -> np.ndarray:
    """n values in [-1, 1) that depend on the name alone: a linear congruential generator, its top 32 bits."""
    state = SEED * 0x9e3779b97f4a7c15 % 2**64
    for byte in name.encode():
        state = (state ^ byte) * 0x100000001b3 % 2**64
    factors = np.full(n, 6364136223846793005, dtype=np.uint64)
    powers = np.cumprod(factors)  # modulo 2**64, as all that follows
    sums = np.cumsum(np.concatenate([np.ones(1, np.uint64), powers[:-1]]))
    states = powers * np.uint64(state) + sums * np.uint64(1442695040888963407)
    return (states >> np.uint64(32)).astype(np.uint32).view(np.int32).astype(np.float32) * np.float32(2.0**-31)


def weights(name: str, shape: torch.Size, norm_centre: float) -> torch.Tensor:
    values = noise(name, shape.numel())
    if name.endswith("A_log"):
        values = np.float32(2.0) * values - np.float32(2.0)  # from states that forget at once to some that remember for long
    elif name.endswith((".bias", "_bias")):
        values = np.float32(0.5) * values
    elif name.endswith("linear_attn.norm.weight"):
        values = np.float32(1.0) + np.float32(0.25) * values
    elif len(shape) == 1:
        values = np.float32(norm_centre) + np.float32(0.25) * values
    elif "embed_tokens." in name or "lm_head" in name:
        values = np.float32(0.0234375) * values  # logits as flat as those of untrained models
    else:
        values = values * (np.float32(2.0) / np.sqrt(np.float32(shape[-1])))
    return torch.from_numpy(values.reshape(shape))


def unpacked(name: str, shape: torch.Size) -> list[tuple[list[str], torch.Size]]:
    """The files' names of a tensor that holds all experts of a layer: for each expert those whose rows it joins."""
    layer = name.rsplit(".", 1)[0]
    kinds = ["gate_proj", "up_proj"] if name.endswith("gate_up_proj") else ["down_proj"]
    rows = shape[1] // len(kinds)
    return [([f"{layer}.{expert}.{kind}.weight" for kind in kinds], torch.Size([rows, shape[2]])) for expert in range(shape[0])]


def mxfp4(name: str, shape: torch.Size) -> tuple[dict, torch.Tensor]:
    """Shapes of the files' blocks and scales of all experts, and their values as transformers reads them."""
    n_experts, n_in, n_out = shape
    blocks = noise(name + "_blocks", n_experts * n_out * n_in // 2)
    scales = noise(name + "_scales", n_experts * n_out * n_in // 32)
    files = {name + "_blocks": [n_experts, n_out, n_in // 32, 16], name + "_scales": [n_experts, n_out, n_in // 32]}
    codes = torch.from_numpy(((blocks + 1) * 128).astype(np.uint8).reshape(files[name + "_blocks"]))
    least = 121 if "gate_up" in name else 117
    exponents = torch.from_numpy((least + (np.abs(scales) * 4).astype(int)).astype(np.uint8).reshape(files[name + "_scales"]))
    return files, convert_moe_packed_tensors(codes, exponents, dtype=torch.float32)


def make_model(model_type: str, changes: dict, form: str):
    centre = 0.0 if model_type in ("gemma2", "gemma3_text") or model_type.startswith("qwen3_5") else 1.0  # w of (1 + w), or w
    config = transformers.AutoConfig.for_model(model_type, **(COMMON | changes))
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    state, files = {}, {}
    for name, tensor in model.state_dict().items():
        if config.tie_word_embeddings and name == "lm_head.weight":
            continue
        if form == "mxfp4" and re.search(r"\.experts\.\w+_proj$", name):
            shapes, state[name] = mxfp4(name, tensor.shape)
            files |= shapes
        elif ".experts." in name and form == "separate":
            experts = []
            for parts, shape in unpacked(name, tensor.shape):
                files |= {part: weights(part, shape, centre) for part in parts}
                experts.append(torch.cat([files[part] for part in parts]))
            state[name] = torch.stack(experts)
        else:
            state[name] = files[name] = weights(name, tensor.shape, centre)
        if model_type == "gpt_oss" and name.endswith("experts.gate_up_proj") and form != "mxfp4":
            state[name] *= 4  # some gates pass the limit of 7
        if model_type.startswith("qwen3_5") and ("embed_tokens" in name or "lm_head" in name):
            state[name] *= 0.3125  # logits flat enough for what bf16's rounding of the residual does to random delta nets
        if model_type.startswith("qwen3_5") and ("q_norm" in name or "k_norm" in name):
            state[name] += 0.75  # scores far enough apart
        if model_type.startswith("qwen3_5") and ("o_proj" in name or "dt_bias" in name):
            state[name] *= 2.0
        if model_type == "gemma4_text" and "q_norm" in name:
            state[name] *= 0.125  # trained ones make up for scores that are not divided by the root of their width
        if model_type == "gemma4_text" and "router.scale" in name:
            state[name] *= 8.0  # and for router inputs that are
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and all(name == "lm_head.weight" for name in missing), (missing, unexpected)
    model.tie_weights()
    return config, model, {name: list(getattr(tensor, "shape", tensor)) for name, tensor in files.items()}


def rope_divisors(config, model) -> list[float]:
    """What converters write as rope_freqs.weight: by how much each frequency is slower than without scaling."""
    if config.model_type == "gemma4_text":
        n_pairs = config.per_layer_config[config.layer_types.index("full_attention")].head_dim // 2
        n_turning = n_pairs * config.rope_parameters["full_attention"]["partial_rotary_factor"]
        return [1.0 if pair < n_turning else 1e30 for pair in range(n_pairs)]
    if config.to_dict().get("rope_parameters", {}).get("rope_type") != "llama3":
        return []
    n_pairs = model.model.rotary_emb.inv_freq.shape[0]
    plain = config.rope_parameters["rope_theta"] ** (-torch.arange(n_pairs, dtype=torch.float64) / n_pairs)
    return (plain / model.model.rotary_emb.inv_freq.double()).float().tolist()


def gemma4_header(config) -> dict:
    keys, llm, attention = gguf.Keys, gguf.Keys.LLM, gguf.Keys.Attention
    of = [config.per_layer_config[layer] for layer in range(config.num_hidden_layers)]
    sliding = [kind == "sliding_attention" for kind in config.layer_types]
    full, local = of[sliding.index(False)], of[sliding.index(True)]
    kv_heads = [layer.num_key_value_heads for layer in of]
    first_shared = config.num_hidden_layers - config.num_kv_shared_layers
    widths = [config.intermediate_size * (2 if config.use_double_wide_mlp and layer >= first_shared else 1)
              for layer in range(config.num_hidden_layers)]
    rope = config.rope_parameters
    return {
        llm.BLOCK_COUNT: config.num_hidden_layers, llm.CONTEXT_LENGTH: config.max_position_embeddings,
        llm.EMBEDDING_LENGTH: config.hidden_size, attention.HEAD_COUNT: config.num_attention_heads,
        llm.FEED_FORWARD_LENGTH: widths if len(set(widths)) > 1 else widths[0],
        attention.HEAD_COUNT_KV: kv_heads if len(set(kv_heads)) > 1 else kv_heads[0],
        attention.LAYERNORM_RMS_EPS: config.rms_norm_eps, attention.SLIDING_WINDOW: config.sliding_window,
        attention.SLIDING_WINDOW_PATTERN: sliding, attention.SHARED_KV_LAYERS: config.num_kv_shared_layers,
        attention.KEY_LENGTH: full.head_dim, attention.VALUE_LENGTH: full.head_dim,
        attention.KEY_LENGTH_SWA: local.head_dim, attention.VALUE_LENGTH_SWA: local.head_dim,
        keys.Rope.DIMENSION_COUNT: full.head_dim, keys.Rope.DIMENSION_COUNT_SWA: local.head_dim,
        keys.Rope.FREQ_BASE: rope["full_attention"]["rope_theta"],
        keys.Rope.FREQ_BASE_SWA: rope["sliding_attention"]["rope_theta"],
        llm.EMBD_LENGTH_PER_LAYER_INP: config.hidden_size_per_layer_input,
        llm.FINAL_LOGIT_SOFTCAPPING: config.final_logit_softcapping,
    } | ({
        llm.EXPERT_COUNT: config.num_experts, llm.EXPERT_USED_COUNT: config.top_k_experts,
        llm.EXPERT_FEED_FORWARD_LENGTH: config.moe_intermediate_size,
    } if config.enable_moe_block else {})


def plain_header(architecture: str, config, model) -> tuple[dict, dict]:
    keys, llm, attention = gguf.Keys, gguf.Keys.LLM, gguf.Keys.Attention
    values = config.to_dict()
    header = {
        llm.BLOCK_COUNT: config.num_hidden_layers, llm.CONTEXT_LENGTH: config.max_position_embeddings,
        llm.EMBEDDING_LENGTH: config.hidden_size,
        attention.HEAD_COUNT: config.num_attention_heads, attention.HEAD_COUNT_KV: config.num_key_value_heads,
        attention.LAYERNORM_RMS_EPS: config.rms_norm_eps, keys.Rope.FREQ_BASE: float(values["rope_parameters"]["rope_theta"]),
    }
    if values.get("intermediate_size"):
        header[llm.FEED_FORWARD_LENGTH] = config.intermediate_size
    if architecture.startswith("qwen35"):
        header |= {keys.SSM.CONV_KERNEL: config.linear_conv_kernel_dim, keys.SSM.STATE_SIZE: config.linear_key_head_dim,
                   keys.SSM.GROUP_COUNT: config.linear_num_key_heads, keys.SSM.TIME_STEP_RANK: config.linear_num_value_heads,
                   keys.SSM.INNER_SIZE: config.linear_num_value_heads * config.linear_value_head_dim,
                   llm.FULL_ATTENTION_INTERVAL: 4, keys.Rope.DIMENSION_COUNT: config.head_dim // 4,
                   keys.Rope.DIMENSION_SECTIONS: config.rope_parameters["mrope_section"] + [0]}
    if values.get("head_dim"):
        header |= {attention.KEY_LENGTH: config.head_dim, attention.VALUE_LENGTH: config.head_dim}
    if values.get("sliding_window") and config.model_type == "mistral":
        header[attention.SLIDING_WINDOW] = config.sliding_window
    if values["rope_parameters"]["rope_type"] == "yarn":
        header |= {keys.Rope.SCALING_TYPE: "yarn", keys.Rope.SCALING_FACTOR: values["rope_parameters"]["factor"],
                   keys.Rope.SCALING_ORIG_CTX_LEN: values["rope_parameters"]["original_max_position_embeddings"]}
        if "beta_fast" in values["rope_parameters"]:
            header[keys.Rope.SCALING_YARN_BETA_FAST] = values["rope_parameters"]["beta_fast"]
    if architecture == "mistral3":
        header |= {keys.Rope.SCALING_YARN_LOG_MUL: values["rope_parameters"]["mscale_all_dim"],
                   attention.TEMPERATURE_SCALE: values["rope_parameters"]["llama_4_scaling_beta"]}
    if architecture == "granite":
        header |= {llm.EMBEDDING_SCALE: config.embedding_multiplier, llm.RESIDUAL_SCALE: config.residual_multiplier,
                   llm.LOGIT_SCALE: config.logits_scaling, attention.SCALE: config.attention_multiplier}
    if architecture == "gemma2":
        header |= {keys.LLM.ATTN_LOGIT_SOFTCAPPING: config.attn_logit_softcapping,
                   keys.LLM.FINAL_LOGIT_SOFTCAPPING: config.final_logit_softcapping, attention.SLIDING_WINDOW: config.sliding_window}
    lists = {}
    if architecture == "phi3":
        rope = config.rope_parameters
        header |= {keys.Rope.DIMENSION_COUNT: int(config.hidden_size // config.num_attention_heads * rope["partial_rotary_factor"]),
                   attention.SLIDING_WINDOW: config.sliding_window or 0}
        if rope["rope_type"] == "longrope":
            header[keys.Rope.SCALING_ORIG_CTX_LEN] = config.original_max_position_embeddings
            header[keys.Rope.SCALING_ATTN_FACTOR] = model.model.rotary_emb.attention_scaling
            lists = {"rope_factors_long.weight": rope["long_factor"], "rope_factors_short.weight": rope["short_factor"]}
    if architecture == "gpt-oss":
        header |= {llm.EXPERT_COUNT: config.num_local_experts, llm.EXPERT_USED_COUNT: config.num_experts_per_tok,
                   llm.EXPERT_FEED_FORWARD_LENGTH: config.intermediate_size, attention.SLIDING_WINDOW: config.sliding_window,
                   keys.Rope.SCALING_YARN_BETA_FAST: config.rope_parameters["beta_fast"]}
    if architecture.endswith("moe"):
        header |= {llm.EXPERT_COUNT: config.num_experts, llm.EXPERT_USED_COUNT: config.num_experts_per_tok,
                   llm.EXPERT_FEED_FORWARD_LENGTH: config.moe_intermediate_size}
    if architecture in ("qwen2moe", "qwen35moe"):
        header[llm.EXPERT_SHARED_FEED_FORWARD_LENGTH] = config.shared_expert_intermediate_size
    return header, lists


def gguf_name(table, name: str) -> str:
    for own, theirs in {".router.scale": "ffn_gate_inp.scale", ".router.per_expert_scale": "ffn_down_exps.scale",
                        ".linear_attn.dt_bias": "ssm_dt.bias"}.items():
        if name.endswith(own):
            return f"blk.{name.split('.')[2]}.{theirs}"
    # The converter gives tensors without a suffix one.
    has_none = name.endswith(("layer_scalar", "sinks")) or re.search(r"\.experts\.\w+_proj$", name)
    return table.get_name(name, try_suffixes=(".weight", ".bias")) + (".weight" if has_none else "")


def gguf_form(architecture: str, config, model, names: list[str]) -> dict:
    arch = {name: key for key, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
    table = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    header, lists = (gemma4_header(config), {}) if architecture == "gemma4" else plain_header(architecture, config, model)
    if architecture == "gpt-oss":  # converters split its experts (tests/support/family_model.cc)
        names = [name for name in names if ".experts." not in name]
    stacked = {}  # tensors that hold all experts of a layer: the files' names in order
    for name in names:
        if match := re.fullmatch(r"(.*\.experts)\.\d+\.(\w+)\.weight", name):
            stacked.setdefault(table.get_name(f"{match[1]}.{match[2]}") + ".weight", []).append(name)
    names = [name for name in names if not any(name in own for own in stacked.values())]
    return {
        "architecture": architecture,
        "norm_offset": 1.0 if architecture == "gemma2" or architecture.startswith("qwen35") else 0.0,
        "stacked": stacked,
        "lists": lists,
        "header": {key.format(arch=architecture): value for key, value in header.items()},
        "names": {name: gguf_name(table, name) for name in names},
        "permuted": architecture in ("llama", "mistral3", "granite", "smollm3"),  # rows of q and k, by head
        "rope_freqs": rope_divisors(config, model),
    }


def case(name: str, model_type: str, changes: dict, architecture: str | None) -> dict:
    form = "mxfp4" if name.endswith("-mxfp4") else "packed" if name.endswith("-packed") or model_type == "gpt_oss" else "separate"
    config, model, shapes = make_model(model_type, changes, form)
    ids = (np.abs(noise(f"ids of {name}", N_TOKENS)) * VOCAB).astype(int).tolist()
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].double()
    scores = torch.log_softmax(logits, dim=-1)[:-1]
    result = {"name": name, "config": json.loads(config.to_json_string(use_diff=False)), "shapes": shapes}
    if architecture:
        result["gguf"] = gguf_form(architecture, config, model, list(shapes))
    result["ids"] = ids
    result["logprobs"] = [round(x, 6) for x in scores.gather(1, torch.tensor(ids[1:])[:, None])[:, 0].tolist()]
    result["top1"] = scores.argmax(-1).tolist()
    print(f"{name}: standard deviation of the logits {logits.std():.3f}")
    return result


def main() -> None:
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[2] / "tests/golden/families")
    folder.mkdir(parents=True, exist_ok=True)
    header = {"generator": "tools/golden/make_family_goldens.py", "seed": SEED,
              "program": f"transformers {transformers.__version__}, torch {torch.__version__}, float32, eager attention; names by gguf"}
    for name in sys.argv[2:] or FILES:
        rows = [json.dumps(case(*row), separators=(",", ":")) for row in FILES[name]]
        (folder / f"{name}.json").write_text('{"header":' + json.dumps(header) + ',\n"cases":[\n' + ",\n".join(rows) + "\n]}\n")


if __name__ == "__main__":
    main()
