#!/usr/bin/env python3
"""A llama-family GGUF file as a sharded float32 safetensors checkpoint with the file names and keys of the Hugging Face hub.

usage: gguf_to_safetensors.py MODEL.gguf FOLDER      (needs the packages gguf and numpy)
"""
import json
import pathlib
import sys

import gguf
import numpy

N_SHARDS = 3
NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def hub_name(name):
    if name in NAMES:
        return NAMES[name]
    _, layer, part, _ = name.split(".")
    return f"model.layers.{layer}.{NAMES[part]}.weight"


def unpermute(matrix, n_heads):
    """GGUF interleaves the halves of each head's query and key rows; the hub keeps them apart."""
    rows, cols = matrix.shape
    return matrix.reshape(n_heads, rows // n_heads // 2, 2, cols).swapaxes(1, 2).reshape(rows, cols)


def write_shard(path, tensors):
    header, offset = {}, 0
    for name, values in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [offset, offset + values.nbytes]}
        offset += values.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for values in tensors.values():
            file.write(values.tobytes())


def main():
    reader = gguf.GGUFReader(sys.argv[1])
    folder = pathlib.Path(sys.argv[2])

    def field(key):
        return reader.fields[key].contents()

    def llama(key):
        return field("llama." + key)

    n_heads, n_kv_heads = llama("attention.head_count"), llama("attention.head_count_kv")
    tensors = {}
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32)
        values = values.reshape([int(n) for n in reversed(tensor.shape)])
        if "attn_q." in tensor.name:
            values = unpermute(values, n_heads)
        if "attn_k." in tensor.name:
            values = unpermute(values, n_kv_heads)
        tensors[hub_name(tensor.name)] = numpy.ascontiguousarray(values)

    names = list(tensors)
    weight_map = {}
    for shard in range(N_SHARDS):
        file = f"model-{shard + 1:05}-of-{N_SHARDS:05}.safetensors"
        own = names[shard::N_SHARDS]
        write_shard(folder / file, {name: tensors[name] for name in own})
        weight_map.update(dict.fromkeys(own, file))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))

    tokens, types = field("tokenizer.ggml.tokens"), field("tokenizer.ggml.token_type")
    eos = field("tokenizer.ggml.eos_token_id")
    (folder / "config.json").write_text(json.dumps({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "tie_word_embeddings": True,
        "hidden_size": llama("embedding_length"), "intermediate_size": llama("feed_forward_length"),
        "num_hidden_layers": llama("block_count"), "num_attention_heads": n_heads, "num_key_value_heads": n_kv_heads,
        "max_position_embeddings": llama("context_length"), "rms_norm_eps": llama("attention.layer_norm_rms_epsilon"),
        "rope_theta": llama("rope.freq_base"), "vocab_size": len(tokens), "eos_token_id": eos}))
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"eos_token": tokens[eos], "chat_template": field("tokenizer.chat_template")}))
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "normalizer": None, "post_processor": None,
        "added_tokens": [{"id": i, "content": token, "special": True, "single_word": False, "lstrip": False,
                          "rstrip": False, "normalized": False} for i, token in enumerate(tokens) if types[i] == 3],
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": True},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}]},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "vocab": {token: i for i, token in enumerate(tokens)},
                  "merges": field("tokenizer.ggml.merges")}}))


if __name__ == "__main__":
    main()
