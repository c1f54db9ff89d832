#!/usr/bin/env python3
"""Makes tests/golden/tokenizer: a corpus of hard texts and the ids that trusted tokenizers give them.

usage: make_tokenizer_goldens.py --models DIR --llama-tokenizer PROGRAM [--out tests/golden/tokenizer]

DIR holds SmolLM2-135M-Instruct.Q4_1.gguf and gemma-3-270m-q4_k_m.gguf. PROGRAM is a build of llama_tokenize.cc beside
this file against llama.cpp: it reads texts that end in NUL and writes a line of ids for each. The small tokenizer.json
files are trained here, with the settings of the real families (Hugging Face tokenizers).
Files: corpus.txt, one JSON string a line; NAME.ids, the ids of every STEP-th line (header: generator, options).
"""
import argparse
import json
import pathlib
import random
import subprocess
import unicodedata

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SEED = 20261123

SNIPPETS = """
The quick brown fox jumps over the lazy dog.|I'm you're they've we'll he'd it's DON'T I'LL O'Neill 'twas rock'n'roll
Größe, Straße, Übermut; ça va? naïve façade – déjà vu… œuvre|El niño comió piñas en Logroño. ¿Qué? ¡Sí!
Привет, мир! Съешь ещё этих мягких булок.|Γειά σου Κόσμε — ἄνθρωπος|שלום עולם, מה נשמע?|مرحبا بالعالم، كيف الحال؟
नमस्ते दुनिया क्षत्रिय|สวัสดีชาวโลก ภาษาไทย|你好，世界！今天天气很好。|こんにちは世界。カタカナとひらがな|안녕하세요 세계 한국어
வணக்கம் உலகம்|ಕನ್ನಡ ಭಾಷೆ|తెలుగు లిపి|বাংলা ভাষা|ქართული ენა|Հայերեն լեզու|አማርኛ ቋንቋ|ខ្មែរ|မြန်မာ|ລາວ|བོད་སྐད|ᏣᎳᎩ|ᐃᓄᒃᑎᑐᑦ
Tiếng Việt có dấu|Türkçe İıIi ğüşöç|Čeština říká žluťoučký kůň|Polski: zażółć gęślą jaźń|Íslenska þæö ð|Kiswahili sanifu
int main(void) { return 0; }|def f(x):\\n    return x ** 2  # square\\n|for (auto& [k, v] : map) std::cout << k << '\\\\n';
SELECT * FROM t WHERE a >= 10 AND b != 'x''y';|<div class="a b">&nbsp;</div>|{"key": [1, 2.5, -3e10, null, true]}|a && b || !c ?: d
if __name__ == "__main__":\\n\\tmain()\\n|#include <stdio.h>\\r\\n#define X(a) (a)\\r\\n|x=1;y=2\\n\\n\\n\\nz=3|    indented\\n        more\\n
https://example.org/a/b?c=d&e=%20f#g|user.name+tag@mail.example.co.uk|/usr/lib/x86_64-linux-gnu/libc.so.6|C:\\\\Windows\\\\System32
1234567890|3.14159|1,000,000|0xDEADBEEF|1e-10|2024-07-26T10:11:12Z|+49 (0)30 123456|12:34:56.789|½ ¾ ² ³ ① Ⅷ ٣٤٥ १२३ 一二三
∀x∈ℝ: ⌈x⌉ = −⌊−x⌋|∑∫∂√∞≈≠≤≥|α+β=γ|E=mc²|x₁,x₂,…,xₙ|f: A→B|¬p∨q|𝒜𝓑𝔠𝟘𝟙𝟚|ℏω
😀😃😄|👨‍👩‍👧‍👦 family|👍🏽👋🏿|🇩🇪🇫🇷🇯🇵|❤️‍🔥|☺︎ ☺️|🏴󠁧󠁢󠁥󠁮󠁧󠁿|1️⃣#️⃣|🧑🏻‍🚀 to 🌍
é vs é|ñ vs ñ|Å Å Å|ﬁ ﬂ ﬀ|Ａｂｃ１２３|ｶﾞ ガ ガ|각 각|Ω Ω|ẛ̣|①|㎏|ǆ|İ
<|im_start|>user\\nhi<|im_end|>\\n<|im_start|>assistant\\n|<|endoftext|>|<bos>text<eos>|<start_of_turn>user\\nhey<end_of_turn>\\n
<|im_start|><|im_end|>|<|im_start||im_end|>|<|im_start|>|< |im_start|>|<unk><pad><mask>|<unused42>|<0x0A>|<0xFF>|[multimodal]|<s></s>
<table><tr><td>x</td></tr></table>|<h1>T</h1><p>p</p>|<repo_name>a/b<file_sep>c|<think>\\nok\\n</think>|<tool_call>{}</tool_call>|[INST] x [/INST]
\\u00a0|\\u3000|\\u2003x\\u2003|\\u200b|\\u200d|\\ufeff|\\u00ad|\\u2028|\\u2029|\\u0085|\\u180e|\\u1680x|\\u202f7|\\u205f
 | |  |   |    |\\t|\\n|\\r|\\r\\n|\\n\\n|\\n\\n\\n\\n| \\n|\\n |\\t\\t|\\x0b|\\x0c|\\x00x|\\x01\\x02|\\x1c\\x1d\\x1e\\x1f|\\x7f
▁|▁▁|▁a|a▁b|Ġ|Ċ|ĠĠ|ĠHello|Ċ\\n|Ã©|a ▁ b
"""

WORDS = ("the of and to in is that for it as was with be by on not he his but at are this have from or had an they you "
         "Model TOKEN split pieceWise snake_case camelCase HTTPServer iPhone15 v2.0.1 don't can't we'll ÉCOLE straße "
         "мир Привет слово данные κόσμος λόγος שלום عالم कर्म भाषा ภาษา 世界 日本語 テスト 한국어 데이터 việt ığdır").split()

SPACES = [" ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\r", " \n", "\n ", "\u00a0", "\u3000", "\u2003", "\u2009", "    ",
          "\t\t", " \t ", "\n\n\n", "\u200b", "\u2028", "\x0b", "\x0c", "\u0085", "\u1680", " " * 9, "\n" * 7]

RANGES = [(0x20, 0x7e), (0xa0, 0x17f), (0x180, 0x24f), (0x250, 0x2af), (0x300, 0x36f), (0x370, 0x3ff), (0x400, 0x52f),
          (0x531, 0x58f), (0x591, 0x5f4), (0x600, 0x6ff), (0x700, 0x74f), (0x900, 0x97f), (0x980, 0x9ff), (0xa00, 0xa7f),
          (0xb80, 0xbff), (0xc00, 0xc7f), (0xd00, 0xd7f), (0xe00, 0xe7f), (0xf00, 0xfff), (0x1000, 0x109f), (0x10a0, 0x10ff),
          (0x1100, 0x11ff), (0x1200, 0x137f), (0x13a0, 0x13ff), (0x1400, 0x167f), (0x1780, 0x17ff), (0x1800, 0x18af),
          (0x1e00, 0x1eff), (0x1f00, 0x1fff), (0x2000, 0x206f), (0x2070, 0x20cf), (0x20d0, 0x20ff), (0x2100, 0x218f),
          (0x2190, 0x23ff), (0x2460, 0x24ff), (0x2500, 0x27bf), (0x2c00, 0x2dff), (0x2e80, 0x303f), (0x3040, 0x30ff),
          (0x3105, 0x33ff), (0x3400, 0x4dbf), (0x4e00, 0x9fff), (0xa000, 0xa4cf), (0xa640, 0xa7ff), (0xac00, 0xd7a3),
          (0xe000, 0xe0ff), (0xf900, 0xfaff), (0xfb00, 0xfdff), (0xfe00, 0xfe6f), (0xff00, 0xffef), (0x10000, 0x100ff),
          (0x10300, 0x1039f), (0x10400, 0x1044f), (0x10900, 0x1091f), (0x12000, 0x120ff), (0x16800, 0x168ff),
          (0x1d100, 0x1d1ff), (0x1d400, 0x1d7ff), (0x1e900, 0x1e95f), (0x1f100, 0x1f1ff), (0x1f300, 0x1f64f),
          (0x1f680, 0x1f6ff), (0x1f900, 0x1f9ff), (0x20000, 0x200ff), (0xe0020, 0xe007f), (0xf0000, 0xf00ff)]


def corpus() -> list[str]:
    rng = random.Random(SEED)

    def character() -> str:
        while True:
            low, high = rng.choice(RANGES)
            c = chr(rng.randint(low, high))
            # Unassigned characters get classes in later versions of Unicode, so engines differ about them.
            if unicodedata.category(c) not in ("Cn", "Cs"):
                return c

    snippets = [s.encode("latin-1", "backslashreplace").decode("unicode_escape") if "\\" in s else s
                for row in SNIPPETS.strip("\n").split("\n") for s in row.split("|")]
    snippets += ["<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n", "<|endoftext|><|im_start|>", "x<|endoftext|>y"]
    lines = [s for s in snippets if s] + list(WORDS)
    lines += [a + s + b for s in SPACES for a, b in (("a", "b"), ("", "word"), ("word", ""), ("1", "2"), (".", "!"))]
    lines += [c * n for c in "a 1\n\t=-_.▁'é世😀" for n in (2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 40, 64, 100)]
    lines += [chr(c) for c in range(1, 0x250)] + ["x" + chr(c) + "y" for c in range(1, 0x100)]
    lines += [f" {w}" for w in WORDS] + [w.upper() for w in WORDS] + [w.title() + "." for w in WORDS]
    for _ in range(900):  # sentences
        parts = []
        for _ in range(rng.randint(2, 16)):
            parts.append(rng.choice(WORDS) if rng.random() < 0.8 else str(rng.randint(0, 10 ** rng.randint(1, 12))))
            parts.append(rng.choice([" "] * 12 + [", ", ". ", "; ", "-", "/", "'", "\"", "(", ") ", "…", "!?", ":\n"] + SPACES[:6]))
        lines.append("".join(parts))
    for _ in range(900):  # mixtures
        lines.append("".join(rng.choice(snippets)[:rng.randint(1, 40)] + rng.choice(SPACES + [""] * 10)
                             for _ in range(rng.randint(2, 5))))
    for _ in range(900):  # one script
        low, high = rng.choice(RANGES)
        line = [chr(rng.randint(low, high)) for _ in range(rng.randint(1, 20))]
        lines.append("".join(c if rng.random() < 0.85 else rng.choice(SPACES[:4]) for c in line
                             if unicodedata.category(c) not in ("Cn", "Cs")))
    for _ in range(700):  # any characters
        lines.append("".join(character() for _ in range(rng.randint(1, 16))))
    for _ in range(150):  # base characters under heaps of marks
        lines.append("".join(rng.choice("aeioubcdAEIO як") + "".join(chr(rng.randint(0x300, 0x36f))
                             for _ in range(rng.randint(0, 6))) for _ in range(rng.randint(1, 8))))
    for _ in range(200):  # numbers
        lines.append(rng.choice(["{}", " {}", "{}.", "-{}", "{}%", "${}", "x{}", "{}e5"]).format(
            rng.randint(0, 10 ** rng.randint(1, 20))))
    for _ in range(150):  # code
        lines.append("".join(rng.choice(["    ", "\t", "\n", "if ", "(", ")", " == ", "{", "}", ";", "x_1", "foo", "->", "::", "<<",
                                         " // ", "/*", "*/", "\"s\"", "0x1F", "[i]", "&&", "+=", "\n\n", "  "])
                             for _ in range(rng.randint(4, 24))))
    for _ in range(40):  # long words
        alphabet = rng.choice(["abcdefghijklmnop", "ACGT", "01", "абвгд", "一二三四五", "aAbB", "=-", "的是不了"])
        lines.append("".join(rng.choice(alphabet) for _ in range(rng.randint(60, 400))))
    for _ in range(150):  # pieces of control tokens
        lines.append("".join(rng.choice(["<|im_start|>", "<|im_end|>", "<|", "|>", "<end_of_turn>", "<start_of_turn>", "<bos>", "<",
                                         ">", "im_start", "user", "\n", " ", "<unused7>", "<unused", "</table>", "<s>", "</s>"])
                             for _ in range(rng.randint(2, 8))))
    seen, unique = set(), []
    for line in lines:
        if line and "\0" not in line and line not in seen:
            seen.add(line)
            unique.append(line)
    return unique


LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
          r"\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
QWEN35 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|"
          r"\s*[\r\n]+|\s+(?!\S)|\s+")
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
          r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|"
          r"\s*[\r\n]+|\s+(?!\S)|\s+")


def byte_level(pattern: str, n_tokens: int, specials: list[str], lines: list[str], normalizer=None,
               ignore_merges=False, first=None) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer:
        tokenizer.normalizer = normalizer
    split = pre_tokenizers.Split(Regex(pattern), "isolated") if pattern else first
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern == "")])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=n_tokens, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=specials,
        show_progress=False))
    return tokenizer


def characters(n_tokens: int, specials: list[str], lines: list[str]) -> Tokenizer:
    """BPE over characters with bytes as the way out, as SentencePiece models are converted."""
    bytes_ = [f"<0x{b:02X}>" for b in range(256)]
    marked = [line.replace(" ", "▁") for line in lines]
    trained = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    trained.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trained.train_from_iterator(marked, trainers.BpeTrainer(vocab_size=n_tokens, special_tokens=specials + bytes_,
                                                            limit_alphabet=300, show_progress=False))
    data = json.loads(trained.to_str())
    data["added_tokens"] = [t for t in data["added_tokens"] if t["content"] in specials]
    data["pre_tokenizer"] = None
    tokenizer = Tokenizer.from_str(json.dumps(data))
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


def begin_with(tokenizer: Tokenizer, token: str) -> None:
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{token} $A", pair=f"{token} $A {token} $B", special_tokens=[(token, tokenizer.token_to_id(token))])


def small_tokenizers(lines: list[str]) -> dict[str, Tokenizer]:
    some = lines[::2]
    made = {}
    llama3 = byte_level(LLAMA3, 1500, ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
                                       "<|eot_id|>"], some, ignore_merges=True)
    begin_with(llama3, "<|begin_of_text|>")
    made["llama3"] = llama3
    made["qwen2"] = byte_level(QWEN2, 1400, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], some, normalizers.NFC())
    made["qwen2"].add_tokens([AddedToken("<tool_call>", normalized=False), AddedToken("<think>", normalized=False)])
    made["qwen35"] = byte_level(QWEN35, 1200, ["<|endoftext|>", "<|im_end|>"], some, normalizers.NFC())
    tekken = byte_level(TEKKEN, 1300, ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"], some, ignore_merges=True)
    begin_with(tekken, "<s>")
    made["tekken"] = tekken
    made["smollm"] = byte_level("", 1200, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], some,
                                first=pre_tokenizers.Digits(individual_digits=True))
    gemma = characters(1500, ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"], some)
    gemma.normalizer = normalizers.Replace(" ", "▁")
    gemma.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    gemma.add_tokens([AddedToken("\n\n", normalized=False), AddedToken("<table>", normalized=False)])
    begin_with(gemma, "<bos>")
    made["gemma"] = gemma
    mistral = characters(1300, ["<unk>", "<s>", "</s>"], some)
    mistral.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    mistral.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                         decoders.Strip(" ", 1, 0)])
    begin_with(mistral, "<s>")
    made["mistral"] = mistral
    metaspace = characters(1100, ["<unk>", "<s>", "</s>"], some)
    metaspace.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    metaspace.add_special_tokens([AddedToken("<strip>", lstrip=True, rstrip=True), AddedToken("user", single_word=True)])
    made["metaspace"] = metaspace
    return made


def write_ids(path: pathlib.Path, header: str, rows: list[list[int]]) -> None:
    path.write_text(f"# {header}\n" + "".join(" ".join(map(str, row)) + "\n" for row in rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=pathlib.Path, required=True)
    parser.add_argument("--llama-tokenizer", required=True)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("tests/golden/tokenizer"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    lines = corpus()
    (args.out / "corpus.txt").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))

    def by_llama(model: str, step: int, special: int) -> list[list[int]]:
        text = b"".join(line.encode() + b"\0" for line in lines[::step])
        out = subprocess.run([args.llama_tokenizer, args.models / model, str(special), str(special)], input=text,
                             stdout=subprocess.PIPE, check=True).stdout.decode()
        return [[int(i) for i in row.split()] for row in out.split("\n")[:-1]]

    for name, model in (("smollm2_gguf", "SmolLM2-135M-Instruct.Q4_1.gguf"), ("gemma3_gguf", "gemma-3-270m-q4_k_m.gguf")):
        for suffix, step, special in (("", 1, 1), ("_plain", 4, 0)):
            write_ids(args.out / f"{name}{suffix}.ids",
                      f"make_tokenizer_goldens.py, llama.cpp, {model}, seed {SEED}, step {step} special {special}",
                      by_llama(model, step, special))
    for name, tokenizer in small_tokenizers(lines).items():
        (args.out / f"{name}.json").write_text(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False) + "\n")
        encoded = tokenizer.encode_batch(lines[::3], add_special_tokens=True)
        write_ids(args.out / f"{name}.ids",
                  f"make_tokenizer_goldens.py, tokenizers {tokenizers.__version__}, seed {SEED}, step 3 special 1",
                  [e.ids for e in encoded])
    print(len(lines), "lines")


if __name__ == "__main__":
    main()
