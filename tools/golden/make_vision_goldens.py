#!/usr/bin/env python3
"""Makes tests/golden/vision/gemma3.json: image features and log-probabilities of prompts with images, in float32, by
Hugging Face transformers on small random checkpoints of Gemma 3 with its image encoder.

usage: make_vision_goldens.py [FOLDER]      (needs torch, transformers, gguf; FOLDER defaults to tests/golden/vision)

No weights are stored: each value follows from its tensor's name (noise() of make_family_goldens.py, rounded to bf16), and
so do pixels (pixels() here and in tests/support/vision_model.cc). Each case: config.json, the shapes of the tensors by
their names on the hub, the header and names of an mmproj file and of a text model as llama.cpp's gguf package spells them,
the features of three images, and prompts with none, one and two of them: token ids, where the images stand, the
log-probability of the token that follows each position, all log-probabilities at the end, and what greedy decoding adds.
Tolerances are the reader's business.
"""
import json
import pathlib
import sys

import gguf
import numpy as np
import torch
import transformers

from make_family_goldens import SEED, noise

N_IMAGES = 3
N_GREEDY = 8
VOCAB = 208
BOI, EOI, IMAGE = 203, 204, 205  # among the vocabulary's last tokens
N_WORDS = 200

TEXT = {"vocab_size": VOCAB, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 7, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 64, "max_position_embeddings": 1024,
        "rms_norm_eps": 1e-6}
TOWER = {"model_type": "siglip_vision_model", "num_hidden_layers": 2, "num_channels": 3, "vision_use_head": False}

# name, vision_config, rows of an image
CASES = [
    # Heads as wide as those of the published models; 64 patches.
    ("heads-of-72", {"hidden_size": 144, "intermediate_size": 112, "num_attention_heads": 2, "image_size": 112, "patch_size": 14}, 16),
    # 441 patches: more than are computed at a time, and no multiple of what a block holds.
    ("many-patches", {"hidden_size": 96, "intermediate_size": 128, "num_attention_heads": 3, "image_size": 84, "patch_size": 4,
                      "num_hidden_layers": 3}, 49),
]


def hub_name(name: str) -> str:
    """The name of a tensor in the files of the hub."""
    for own, theirs in {"model.vision_tower.": "vision_tower.vision_model.", "model.multi_modal_projector.": "multi_modal_projector.",
                        "model.language_model.": "language_model.model."}.items():
        name = theirs + name[len(own):] if name.startswith(own) else name
    return name


def weights(name: str, shape: torch.Size) -> torch.Tensor:
    values = noise(name, shape.numel())
    if name.endswith(".bias"):
        values = np.float32(0.5) * values
    elif len(shape) == 1:
        # w of a layer norm, or of (1 + w)
        is_layer_norm = "layer_norm" in name or "post_layernorm" in name
        values = np.float32(1.0 if is_layer_norm else 0.0) + np.float32(0.25) * values
    elif "embed_tokens." in name:
        values = np.float32(0.0234375) * values
    else:
        values = values * (np.float32(2.0) / np.sqrt(np.float32(shape[-1])))
    return torch.from_numpy(values.reshape(shape)).bfloat16().float()


def pixels(image: int, size: int) -> np.ndarray:
    """[size, size, 3] of bytes."""
    y, x, c = np.meshgrid(np.arange(size), np.arange(size), np.arange(3), indexing="ij")
    return (3 * x * x + 5 * x * y + 17 * y + 31 * c + 101 * image) % 256


def make_model(tower: dict, n_rows: int):
    config = transformers.Gemma3Config(text_config=dict(TEXT), vision_config=TOWER | tower, mm_tokens_per_image=n_rows,
                                       boi_token_index=BOI, eoi_token_index=EOI, image_token_index=IMAGE)
    model = transformers.Gemma3ForConditionalGeneration._from_config(config, attn_implementation="eager").float().eval()
    state = {name: weights(hub_name(name), tensor.shape) for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and missing in ([], ["lm_head.weight"]), (missing, unexpected)
    model.tie_weights()
    return config, model, {hub_name(name): list(tensor.shape) for name, tensor in state.items()}


def normalised(image: int, size: int) -> torch.Tensor:
    return (torch.from_numpy(pixels(image, size).astype(np.float32)).permute(2, 0, 1) / 255 - 0.5) / 0.5


def mmproj(config, shapes: dict) -> dict:
    """As llama.cpp's converter writes it."""
    keys, vision = gguf.Keys.ClipVision, config.vision_config
    table = gguf.get_tensor_name_map(gguf.MODEL_ARCH.MMPROJ, vision.num_hidden_layers)
    # The converter gives the projection's name a dot.
    names = {name: table.get_name(name.replace("_projection_weight", "_projection.weight"), try_suffixes=(".weight", ".bias"))
             for name in shapes if not name.startswith("language_model.")}
    side = config.vision_config.image_size // config.vision_config.patch_size
    header = {
        "general.architecture": "clip", "clip.has_vision_encoder": True, gguf.Keys.Clip.PROJECTOR_TYPE: gguf.VisionProjectorType.GEMMA3,
        keys.IMAGE_SIZE: vision.image_size, keys.PATCH_SIZE: vision.patch_size, keys.EMBEDDING_LENGTH: vision.hidden_size,
        keys.FEED_FORWARD_LENGTH: vision.intermediate_size, keys.BLOCK_COUNT: vision.num_hidden_layers,
        keys.Attention.HEAD_COUNT: vision.num_attention_heads, keys.Attention.LAYERNORM_EPS: vision.layer_norm_eps,
        keys.PROJECTION_DIM: config.text_config.hidden_size, keys.IMAGE_MEAN: [0.5] * 3, keys.IMAGE_STD: [0.5] * 3,
        keys.USE_GELU: True, keys.Projector.SCALE_FACTOR: side // int(config.mm_tokens_per_image ** 0.5),
    }
    return {"header": header, "names": names}


def text_gguf(config, shapes: dict) -> dict:
    keys, llm, attention, text = gguf.Keys, gguf.Keys.LLM, gguf.Keys.Attention, config.text_config
    table = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GEMMA3, text.num_hidden_layers)
    header = {
        llm.BLOCK_COUNT: text.num_hidden_layers, llm.CONTEXT_LENGTH: text.max_position_embeddings, llm.EMBEDDING_LENGTH: text.hidden_size,
        llm.FEED_FORWARD_LENGTH: text.intermediate_size, attention.HEAD_COUNT: text.num_attention_heads,
        attention.HEAD_COUNT_KV: text.num_key_value_heads, attention.KEY_LENGTH: text.head_dim, attention.VALUE_LENGTH: text.head_dim,
        attention.LAYERNORM_RMS_EPS: text.rms_norm_eps, attention.SLIDING_WINDOW: text.sliding_window, keys.Rope.FREQ_BASE: 1e6,
    }
    names = {name: table.get_name(name.replace("language_model.model.", "model."), try_suffixes=(".weight",))
             for name in shapes if name.startswith("language_model.")}
    return {"architecture": "gemma3", "header": {key.format(arch="gemma3"): value for key, value in header.items()}, "names": names}


def words(name: str, n: int) -> list[int]:
    return (np.abs(noise(name, n)) * N_WORDS).astype(int).tolist()


class Prompt:
    def __init__(self, name: str, n_rows: int, images: list[int], n_words: int):
        self.ids, self.images = words(f"{name} 0", n_words), []
        for image in images:
            self.ids.append(BOI)
            self.images.append({"image": image, "first_position": len(self.ids)})
            self.ids += [IMAGE] * n_rows + [EOI] + words(f"{name} {len(self.images)}", n_words)

    def log_probabilities(self, model, size: int, more: list[int]) -> torch.Tensor:
        ids = torch.tensor([self.ids + more])
        inputs = {}
        if self.images:
            inputs = {"pixel_values": torch.stack([normalised(image["image"], size) for image in self.images]),
                      "token_type_ids": (ids == IMAGE).long()}
        with torch.no_grad():
            return torch.log_softmax(model(input_ids=ids, **inputs).logits[0].double(), dim=-1)

    def golden(self, model, size: int) -> dict:
        scores = self.log_probabilities(model, size, [])
        greedy = []
        for _ in range(N_GREEDY):
            greedy.append(int(self.log_probabilities(model, size, greedy)[-1].argmax()))
        following = scores[:-1].gather(1, torch.tensor(self.ids[1:])[:, None])[:, 0]
        return {"ids": self.ids, "images": self.images, "logprobs": [round(x, 6) for x in following.tolist()],
                "last": [round(x, 6) for x in scores[-1].tolist()], "greedy": greedy}


def case(name: str, tower: dict, n_rows: int) -> dict:
    config, model, shapes = make_model(tower, n_rows)
    size = config.vision_config.image_size
    with torch.no_grad():
        output = model.get_image_features(torch.stack([normalised(image, size) for image in range(N_IMAGES)]))
    features = getattr(output, "pooler_output", output)
    print(f"{name}: features {tuple(features.shape)}, standard deviation {features.std():.3f}, "
          f"between images {(features[0] - features[1]).std():.3f}")
    prompts = [Prompt("words", n_rows, [], 60), Prompt("one", n_rows, [0], 40), Prompt("two", n_rows, [1, 2], 30),
               Prompt("adjoining", n_rows, [2, 2], 5)]
    return {"name": name, "config": json.loads(config.to_json_string(use_diff=False)), "shapes": shapes,
            "mmproj": mmproj(config, shapes), "gguf": text_gguf(config, shapes),
            "features": [[float(f"{x:.6g}") for x in image.flatten().tolist()] for image in features],
            "prompts": [prompt.golden(model, size) for prompt in prompts]}


def main() -> None:
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[2] / "tests/golden/vision")
    folder.mkdir(parents=True, exist_ok=True)
    header = {"generator": "tools/golden/make_vision_goldens.py", "seed": SEED,
              "program": f"transformers {transformers.__version__}, torch {torch.__version__}, float32, eager attention; names by gguf"}
    rows = [json.dumps(case(*row), separators=(",", ":")) for row in CASES]
    (folder / "gemma3.json").write_text('{"header":' + json.dumps(header) + ',\n"cases":[\n' + ",\n".join(rows) + "\n]}\n")


if __name__ == "__main__":
    main()
