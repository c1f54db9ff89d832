"""LoRA adapters of random weights for SmolLM2-135M, in the files that PEFT's `save_pretrained` writes."""
import array
import json
import random
import struct

D_MODEL, D_KV, D_FF, N_LAYERS = 576, 192, 1536, 30
MODULES = {"self_attn.q_proj": (D_MODEL, D_MODEL), "self_attn.v_proj": (D_MODEL, D_KV), "mlp.down_proj": (D_FF, D_MODEL)}


def values(dice, n, size):
    return array.array("f", (dice.uniform(-size, size) for _ in range(n))).tobytes()


def n_bytes(rank):
    """Of its matrices in F32."""
    return 4 * rank * N_LAYERS * sum(n_in + n_out for n_in, n_out in MODULES.values())


def write_adapter(folder, seed, rank=4):
    """The same weights for the same seed and rank. Returns the folder."""
    folder.mkdir(parents=True)
    dice = random.Random(seed)
    # Layers have the same values, turned by some places: a hundred adapters are to be made in seconds.
    made = {(module, half): values(dice, rank * size, scale) for module, (n_in, n_out) in MODULES.items()
            for half, size, scale in (("lora_A", n_in, 0.08), ("lora_B", n_out, 0.04))}
    header, data = {}, bytearray()
    for layer in range(N_LAYERS):
        for module, (n_in, n_out) in MODULES.items():
            for half, shape in (("lora_A", [rank, n_in]), ("lora_B", [n_out, rank])):
                turn = 4 * (layer * 37 % (rank * 8))
                chunk = made[module, half]
                chunk = chunk[turn:] + chunk[:turn]
                header[f"base_model.model.model.layers.{layer}.{module}.{half}.weight"] = {
                    "dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(chunk)]}
                data += chunk
    text = json.dumps(header).encode()
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    (folder / "adapter_config.json").write_text(json.dumps({
        "peft_type": "LORA", "r": rank, "lora_alpha": 4 * rank, "bias": "none", "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "HuggingFaceTB/SmolLM2-135M-Instruct", "target_modules": sorted(m.split(".")[1] for m in MODULES)}))
    return folder
