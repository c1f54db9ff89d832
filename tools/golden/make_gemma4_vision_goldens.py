#!/usr/bin/env python3
"""Makes tests/golden/vision/gemma4.json: as make_vision_goldens.py, of small random checkpoints of Gemma 4 with its image
encoder, in both its forms: clipped products beside a text model with per-layer embeddings, whose images look back alone; and
standardised rows beside one whose images' rows see each other in layers with windows.

usage: make_gemma4_vision_goldens.py [FOLDER]      (needs torch, transformers, gguf; FOLDER defaults to tests/golden/vision)

Images have sides of their own. No weights are stored: `values` has centre and scale of each tensor, which are the noise of
its name times the scale, plus the centre, rounded to bf16. `sizes` are what the image processor makes of sides in pixels:
[width, height, rows an image may have, width, height]. Tolerances are the reader's business.
"""
import json
import pathlib
import sys

import gguf
import numpy as np
import torch
import transformers
from transformers.models.gemma4.image_processing_pil_gemma4 import get_aspect_ratio_preserving_size

from make_family_goldens import GEMMA4, SEED, layers, noise
from make_vision_goldens import BOI, EOI, IMAGE, N_GREEDY, VOCAB, words

SLIDING, POOL = 64, 3
TEXT = GEMMA4 | {"vocab_size": VOCAB, "vocab_size_per_layer_input": VOCAB, "hidden_size": 64, "intermediate_size": 96,
                 "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "global_head_dim": 32, "sliding_window": SLIDING,
                 "max_position_embeddings": 1024, "pad_token_id": 0}
TOWER = {"num_hidden_layers": 2, "pooling_kernel_size": POOL, "patch_size": 4, "position_embedding_size": 96, "default_output_length": 32}

# name, text_config, vision_config, sides of images in cells of pooled patches: [across, down]
CASES = [
    ("clipped", TEXT | {"num_hidden_layers": 4, "layer_types": layers("sfsf"), "num_kv_shared_layers": 2, "hidden_size_per_layer_input": 32},
     TOWER | {"hidden_size": 96, "intermediate_size": 80, "num_attention_heads": 3, "num_key_value_heads": 3, "head_dim": 32,
              "use_clipped_linears": True}, [[3, 5], [7, 1], [4, 4]]),
    # Heads as wide as those of the published models; the first image has more patches than are computed at a time.
    ("standardised", TEXT | {"num_hidden_layers": 3, "layer_types": layers("ssf"), "attention_k_eq_v": True, "num_global_key_value_heads": 1,
                             "hidden_size_per_layer_input": 0, "use_bidirectional_attention": "vision"},
     TOWER | {"hidden_size": 144, "intermediate_size": 112, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 72,
              "standardize": True, "num_hidden_layers": 3}, [[6, 5], [1, 2], [2, 3]]),
]
SIZES = [(width, height, budget) for budget in (70, 280) for width, height in
         [(640, 480), (479, 641), (3000, 17), (17, 3000), (48, 48), (1, 1), (1, 200), (4032, 3024), (1001, 333), (863, 861), (800, 4)]]


def values(name: str, shape: torch.Size) -> tuple[float, float]:
    """Centre and scale."""
    if name.endswith(("put_min", "put_max")):  # cuts a few of a hundred values
        return (-1.0 if name.endswith("min") else 1.0) * (3.0 if "input" in name else 2.0), 0.5
    if name.endswith("std_bias"):
        return 0.0, 2.0
    if name.endswith("layer_scalar"):
        return 1.0, 0.25
    if len(shape) == 1:
        # Trained norms of queries and keys make up for scores that are not divided by the root of their width.
        return (0.125, 0.03125) if "q_norm" in name else (1.0, 0.25)
    if "embed_tokens." in name:
        return 0.0, 0.0234375
    return 0.0, float(np.float32(2.0) / np.sqrt(np.float32(shape[-1])))


def pixels(image: int, width: int, height: int) -> np.ndarray:
    """[height, width, 3] of bytes."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    return (3 * x * x + 5 * x * y + 17 * y + 31 * c + 101 * image) % 256


def make_model(text: dict, tower: dict):
    config = transformers.Gemma4Config(text_config=text, vision_config=tower, audio_config=None, boi_token_id=BOI, eoi_token_id=EOI,
                                       image_token_id=IMAGE, video_token_id=206, audio_token_id=207)
    model = transformers.Gemma4ForConditionalGeneration._from_config(config, attn_implementation="eager").float().eval()
    state, rules = {}, {}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        centre, scale = rules[name] = values(name, tensor.shape)
        flat = np.float32(centre) + np.float32(scale) * noise(name, max(1, tensor.numel()))
        state[name] = torch.from_numpy(flat.reshape(tuple(tensor.shape))).bfloat16().float()
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and missing in ([], ["lm_head.weight"]), (missing, unexpected)
    model.tie_weights()
    return config, model, {name: list(tensor.shape) for name, tensor in state.items()}, rules


def patches(image: int, across: int, down: int, size: int):
    """Pixel values and positions as the image processor makes them, without the padding."""
    width, height = across * POOL * size, down * POOL * size
    rgb = pixels(image, width, height).astype(np.float32) / np.float32(255)
    cut = rgb.reshape(height // size, size, width // size, size, 3).transpose(0, 2, 1, 3, 4).reshape(-1, 3 * size * size)
    x, y = np.meshgrid(np.arange(width // size), np.arange(height // size), indexing="xy")
    return torch.from_numpy(cut.copy())[None], torch.from_numpy(np.stack([x, y], axis=-1).reshape(-1, 2))[None]


def mmproj(config, shapes: dict) -> dict:
    """As llama.cpp's converter writes it: without the names' ".linear", and what clips products by the product's name."""
    keys, vision = gguf.Keys.ClipVision, config.vision_config
    table = gguf.get_tensor_name_map(gguf.MODEL_ARCH.MMPROJ, vision.num_hidden_layers)
    names = {}
    for name in shapes:
        if name.startswith("model.language_model."):
            continue
        short = name.replace(".linear", "").replace("model.vision_tower.encoder.layers.", "vision_model.model.layers.")
        names[name] = table.get_name(short, try_suffixes=(".weight", ".input_min", ".input_max", ".output_min", ".output_max"))
        if "position_embedding_table" in name:
            names[name] += ".weight"
    assert None not in names.values(), names
    header = {
        "general.architecture": "clip", "clip.has_vision_encoder": True, "clip.vision.projector_type": gguf.VisionProjectorType.GEMMA4V,
        keys.IMAGE_SIZE: 224, keys.PATCH_SIZE: vision.patch_size, keys.EMBEDDING_LENGTH: vision.hidden_size,
        keys.FEED_FORWARD_LENGTH: vision.intermediate_size, keys.BLOCK_COUNT: vision.num_hidden_layers,
        keys.Attention.HEAD_COUNT: vision.num_attention_heads, keys.Attention.LAYERNORM_EPS: vision.rms_norm_eps,
        keys.PROJECTION_DIM: config.text_config.hidden_size, keys.IMAGE_MEAN: [0.0] * 3, keys.IMAGE_STD: [1.0] * 3,
        keys.Projector.SCALE_FACTOR: vision.pooling_kernel_size,
    }
    return {"header": header, "names": names}


class Prompt:
    def __init__(self, name: str, rows: list[int], images: list[int], n_words: int):
        self.ids, self.images = words(f"{name} 0", n_words), []
        for image in images:
            self.ids.append(BOI)
            self.images.append({"image": image, "first_position": len(self.ids)})
            self.ids += [IMAGE] * rows[image] + [EOI] + words(f"{name} {len(self.images)}", n_words)

    def log_probabilities(self, model, features: list, more: list[int]) -> torch.Tensor:
        ids = torch.tensor([self.ids + more])
        inputs = {"mm_token_type_ids": (ids == IMAGE).long()}
        if self.images:
            outputs = transformers.modeling_outputs.BaseModelOutputWithPooling(
                pooler_output=[features[image["image"]] for image in self.images])
            inputs["mm_encoder_outputs"] = {"image": outputs}
        with torch.no_grad():
            return torch.log_softmax(model(input_ids=ids, **inputs).logits[0].double(), dim=-1)

    def golden(self, model, features: list) -> dict:
        scores = self.log_probabilities(model, features, [])
        greedy = []
        for _ in range(N_GREEDY):
            greedy.append(int(self.log_probabilities(model, features, greedy)[-1].argmax()))
        following = scores[:-1].gather(1, torch.tensor(self.ids[1:])[:, None])[:, 0]
        return {"ids": self.ids, "images": self.images, "logprobs": [round(x, 6) for x in following.tolist()],
                "last": [round(x, 6) for x in scores[-1].tolist()], "greedy": greedy}


def case(name: str, text: dict, tower: dict, cells: list) -> dict:
    config, model, shapes, rules = make_model(text, tower)
    size = config.vision_config.patch_size
    features = []
    for image, (across, down) in enumerate(cells):
        inputs, positions = patches(image, across, down, size)
        with torch.no_grad():
            output = model.get_image_features(inputs, positions, return_dict=True)
        features.append(torch.cat(list(output.pooler_output)))
        assert features[-1].shape[0] == across * down
    print(f"{name}: features {[tuple(one.shape) for one in features]}, standard deviation {features[0].std():.3f}")
    rows = [across * down for across, down in cells]
    prompts = [Prompt("words", rows, [], 60), Prompt("one", rows, [0], 40), Prompt("two", rows, [1, 2], 30), Prompt("adjoining", rows, [2, 2], 5)]
    return {"name": name, "config": json.loads(config.to_json_string(use_diff=False)), "shapes": shapes, "values": rules,
            "mmproj": mmproj(config, shapes), "cells": cells,
            "features": [[float(f"{x:.6g}") for x in image.flatten().tolist()] for image in features],
            "prompts": [prompt.golden(model, features) for prompt in prompts]}


def sizes() -> list:
    rows = []
    for width, height, budget in SIZES:
        down, across = get_aspect_ratio_preserving_size(height, width, 16, budget * 9, 3)
        rows.append([width, height, budget, across, down])
    return rows


def main() -> None:
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[2] / "tests/golden/vision")
    folder.mkdir(parents=True, exist_ok=True)
    header = {"generator": "tools/golden/make_gemma4_vision_goldens.py", "seed": SEED,
              "program": f"transformers {transformers.__version__}, torch {torch.__version__}, float32, eager attention; names by gguf"}
    rows = [json.dumps(case(*row), separators=(",", ":")) for row in CASES]
    (folder / "gemma4.json").write_text('{"header":' + json.dumps(header) + ',\n"sizes":' + json.dumps(sizes()) + ',\n"cases":[\n' +
                                        ",\n".join(rows) + "\n]}\n")


if __name__ == "__main__":
    main()
