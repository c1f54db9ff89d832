#!/usr/bin/env python3
"""Makes tests/golden/tokenizer/post_processors.json: which tokens transformers puts around a text, for post_processors and tokenizer_configs.

usage: make_post_processor_goldens.py [--out tests/golden/tokenizer/post_processors.json]   (needs transformers 5 and tokenizers; no torch)

Each case has a post_processor (of tokenizer.json), a tokenizer_config.json and the ids of TEXT with and without special tokens. All share one small byte-level
vocabulary.
"""
import argparse
import json
import pathlib
import tempfile

import tokenizers
import transformers

TEXT = "abc<s>a"
SPECIALS = {"<s>": 5, "</s>": 6, "[gMASK]": 7, "<sop>": 8}


def template(*parts, ids=None):
    """TemplateProcessing; "$" is the text, anything else a special token."""
    names = [part for part in parts if part != "$"]
    single = [{"Sequence": {"id": "A", "type_id": 0}} if part == "$" else {"SpecialToken": {"id": part, "type_id": 0}} for part in parts]
    table = {name: {"id": name, "ids": (ids or {}).get(name, [SPECIALS.get(name)]), "tokens": [name] * len((ids or {}).get(name, [0]))} for name in names}
    return {"type": "TemplateProcessing", "single": single, "pair": single + [{"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": table}


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}
ROLES = {"bos_token": "<s>", "eos_token": "</s>"}
CASES = [
    ("nothing", None, {}),
    ("nothing, with roles", None, ROLES),
    ("the config alone asks for BOS", None, {**ROLES, "add_bos_token": True}),
    ("the config alone asks for EOS", None, {**ROLES, "add_eos_token": True}),
    ("a template with BOS", template("<s>", "$"), ROLES),
    ("a template with BOS, the config says no", template("<s>", "$"), {**ROLES, "add_bos_token": False}),
    ("a template with BOS, the config names another", template("<s>", "$"), {"bos_token": "</s>", "eos_token": "</s>"}),
    ("a template without, the config says yes", template("$"), {**ROLES, "add_bos_token": True, "add_eos_token": True}),
    ("both sides", template("<s>", "$", "</s>"), ROLES),
    ("both sides, the config says no", template("<s>", "$", "</s>"), {**ROLES, "add_bos_token": False, "add_eos_token": False}),
    ("two before", template("[gMASK]", "<sop>", "$"), ROLES),
    ("two before and two behind", template("[gMASK]", "<sop>", "$", "</s>", "<s>"), ROLES),
    ("a special token of two ids", template("<s>", "$", ids={"<s>": [7, 8]}), ROLES),
    ("byte level", BYTE_LEVEL, {**ROLES, "add_bos_token": True}),
    ("byte level, then a template", {"type": "Sequence", "processors": [BYTE_LEVEL, template("<s>", "$")]}, ROLES),
    ("as BERT", {"type": "BertProcessing", "sep": ["</s>", 6], "cls": ["<s>", 5]}, ROLES),
    ("as RoBERTa", {"type": "RobertaProcessing", "sep": ["</s>", 6], "cls": ["<s>", 5], "trim_offsets": True, "add_prefix_space": False},
     {**ROLES, "add_bos_token": False}),
]


def tokenizer_json(post_processor):
    added = [{"id": id, "content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
             for text, id in SPECIALS.items()]
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
            "post_processor": post_processor, "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False,
                      "byte_fallback": False, "vocab": {"a": 0, "b": 1, "c": 2, "ab": 3, "Ġ": 4}, "merges": ["a b"]}}


def ids_of(post_processor, config):
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "tokenizer.json").write_text(json.dumps(tokenizer_json(post_processor)))
        (pathlib.Path(folder) / "tokenizer_config.json").write_text(json.dumps({**config, "tokenizer_class": "TokenizersBackend"}))
        loaded = transformers.AutoTokenizer.from_pretrained(folder)
        return loaded(TEXT)["input_ids"], loaded(TEXT, add_special_tokens=False)["input_ids"]


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parents[2] / "tests/golden/tokenizer/post_processors.json")
    out = arguments.parse_args().out
    cases = []
    for name, post_processor, config in CASES:
        with_special, plain = ids_of(post_processor, config)
        cases.append({"name": name, "post_processor": post_processor, "config": config, "ids": with_special, "plain": plain})
    head = {"generator": f"make_post_processor_goldens.py, transformers {transformers.__version__}, tokenizers {tokenizers.__version__}",
            "text": TEXT, "tokenizer": tokenizer_json(None)}
    lines = ",\n".join(json.dumps(case) for case in cases)
    out.write_text(json.dumps(head)[:-1] + ', "cases": [\n' + lines + "\n]}\n")


if __name__ == "__main__":
    main()
