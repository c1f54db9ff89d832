#!/usr/bin/env python3
"""Makes tests/golden/sampling/cases.json: logits as Hugging Face transformers' logits processors leave them.

usage: make_sampling_goldens.py

Each case: name, params (by the names of SamplingParams), history (tokens so far), n_prompt, logits [n_vocab], and
either logits_after [n_vocab] (null: banned) or kept (the ids that may still be drawn). Needs torch and transformers.
Frequency and presence penalties have no processor there; unit tests check them against the OpenAI API's formula.
"""
import json
import pathlib

import torch
from transformers.generation import logits_process as hf

N_VOCAB = 48


def case(name: str, seed: int, processors: list, params: dict, *, keeps: bool, n_prompt: int = 6) -> dict:
    random = torch.Generator().manual_seed(seed)
    # Sixteenths are exact as decimal text and as float32; all differ, as libraries break ties differently.
    logits = torch.randperm(256, generator=random)[None, :N_VOCAB] / 16 - 8
    history = torch.randint(0, N_VOCAB, (1, 20), generator=random)
    after = logits.clone()
    for processor in processors:
        after = processor(history, after)
    result = {"name": name, "params": params, "history": history[0].tolist(), "n_prompt": n_prompt}
    result["logits"] = logits[0].tolist()
    values = after[0].tolist()
    if keeps:
        result["kept"] = [i for i, value in enumerate(values) if value != float("-inf")]
    else:
        result["logits_after"] = [None if value == float("-inf") else value for value in values]
    return result


def adjusting(seed: int) -> list[dict]:
    history = torch.randint(0, N_VOCAB, (1, 20), generator=drawn_after_logits(seed))[0].tolist()
    bad = [[3], [history[-1], 7], [history[-2], history[-1], 11], [history[-1], history[-2], 13]]
    ends = [1, 5]
    return [
        case("repetition", seed, [hf.RepetitionPenaltyLogitsProcessor(1.3)], {"repetition_penalty": 1.3}, keeps=False),
        case("reward", seed, [hf.RepetitionPenaltyLogitsProcessor(0.8)], {"repetition_penalty": 0.8}, keeps=False),
        case("bad_words", seed, [hf.NoBadWordsLogitsProcessor(bad)], {"bad_sequences": bad}, keeps=False, n_prompt=0),
        case("bias", seed, [hf.SequenceBiasLogitsProcessor([[[9], 4.5], [[40], -100.0]])],
             {"logit_bias": [[9, 4.5], [40, -100.0]]}, keeps=False),
        case("min_tokens", seed, [hf.MinNewTokensLengthLogitsProcessor(6, 15, ends, device="cpu")],
             {"min_tokens": 15, "end_tokens": ends}, keeps=False),
        case("enough_tokens", seed, [hf.MinNewTokensLengthLogitsProcessor(6, 14, ends, device="cpu")],
             {"min_tokens": 14, "end_tokens": ends}, keeps=False),
    ]


def drawn_after_logits(seed: int) -> torch.Generator:
    random = torch.Generator().manual_seed(seed)
    torch.randperm(256, generator=random)
    return random


def filtering(seed: int) -> list[dict]:
    def kept(name: str, params: dict, *processors) -> dict:
        return case(name, seed, list(processors), params, keeps=True)

    warm = hf.TemperatureLogitsWarper(1.7)
    return [
        kept("top_k", {"temperature": 1.7, "top_k": 9}, warm, hf.TopKLogitsWarper(9)),
        kept("top_p", {"temperature": 1.7, "top_p": 0.7}, warm, hf.TopPLogitsWarper(0.7)),
        kept("min_p", {"temperature": 1.7, "min_p": 0.2}, warm, hf.MinPLogitsWarper(0.2)),
        kept("typical", {"temperature": 1.7, "typical_p": 0.6}, warm, hf.TypicalLogitsWarper(0.6)),
        kept("top_k_top_p", {"temperature": 1.7, "top_k": 12, "top_p": 0.6}, warm, hf.TopKLogitsWarper(12),
             hf.TopPLogitsWarper(0.6)),
        kept("min_p_top_k", {"temperature": 1.7, "top_k": 8, "min_p": 0.05}, warm, hf.MinPLogitsWarper(0.05),
             hf.TopKLogitsWarper(8)),
    ]


def main() -> None:
    cases = [each for seed in range(1, 7) for each in adjusting(seed) + filtering(seed)]
    path = pathlib.Path(__file__).parents[2] / "tests/golden/sampling/cases.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text("[\n" + ",\n".join(json.dumps(each) for each in cases) + "\n]\n")
    print(f"{path}: {len(cases)} cases")


if __name__ == "__main__":
    main()
