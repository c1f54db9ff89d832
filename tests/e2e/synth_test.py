#!/usr/bin/env python3
"""Models of random weights: written or named synth:SHAPE they are the same model, in one stage or three, in either format; a 27B shape is opened, planned and cut without a byte of disk; what cannot be had
is refused with exit status 2, and what is stopped leaves nothing."""
import json
import pathlib
import resource
import shutil
import signal
import struct
import subprocess
import tempfile

from harness import PROGRAM, QUICK, Chain, wait_until

MASK, GOLDEN = (1 << 64) - 1, 0x9E3779B97F4A7C15
BODY = {"prompt": "The capital of France is", "max_tokens": 8, "temperature": 0, "logprobs": 2, "return_tokens_as_token_ids": True}


def run(*arguments, code=0, **options):
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=170, **options)
    assert done.returncode == code, (arguments, done.returncode, done.stderr)
    return done


def inspect(model, *flags):
    return json.loads(run("inspect", model, "--json", *flags).stdout)


def mix64(x):
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def levels(seed, name, row, n):
    """The rule of src/synth/random_values.h, written once more."""
    key = mix64((seed + GOLDEN) & MASK)
    for letter in name.encode():
        key = mix64(((key + GOLDEN) & MASK) ^ letter)
    row_key = mix64((key + GOLDEN * (row + 1)) & MASK)
    drawn = [mix64((row_key + GOLDEN * i) & MASK).to_bytes(8, "little") for i in range(0, n, 2)]
    return [sum(half) - 510 for pair in drawn for half in (pair[:4], pair[4:])][:n]


def row_of(path, name, row):
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    entry = json.loads(data[8:8 + length])[name]
    n = entry["shape"][1]
    begin = 8 + length + entry["data_offsets"][0] + 4 * n * row
    return list(struct.unpack(f"<{n}f", data[begin:begin + 4 * n]))


def answer(model, stages):
    with Chain(model, stages=stages) as chain:
        return chain.post("/v1/completions", BODY)["choices"][0]


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)

    # Written or named, the same model; other seeds are others.
    small = ("--shape", "gemma-3-270m", "--scale-down", "8", "--layers", "0-6", "--seed", "3")
    named = "synth:gemma-3-270m@0-6?seed=3&scale-down=8"
    done = run("synth", *small, folder / "small")
    assert named in done.stdout and "7 layers" in done.stdout, done.stdout
    assert inspect(folder / "small")["fingerprint"] == inspect(named)["fingerprint"]
    assert inspect(named)["fingerprint"] != inspect(named.replace("seed=3", "seed=4"))["fingerprint"]
    whole = answer(named, stages=1)
    assert len(set(whole["logprobs"]["tokens"])) > 1, whole
    assert answer(folder / "small", stages=3) == whole
    run("synth", *small, "--format", "gguf", "--dtype", "q8_0", folder / "gguf")
    assert set(inspect(folder / "gguf")["types"]) == {"Q8_0", "F32"}
    with Chain(folder / "gguf", stages=2) as chain:
        assert chain.run("ask", "--max-tokens", "4", "Hello").stdout.strip()
        report = json.loads(chain.run("bench", "--requests", "4", "--concurrency", "2", "--prompt-tokens", "16", "--max-tokens", "4", "--json").stdout)
        assert report["completed"] == 4, report
        if not QUICK:
            assert json.loads(chain.run("verify", "--max-tokens", "4", "--json").stdout)["same"]

    # Every kind of file: codes and scales of MXFP4, per-layer embeddings, shared keys and values.
    for model, dtype in (("gpt-oss-20b-tiny", "MXFP4"), ("gemma-4-e2b-tiny", "BF16")):
        run("synth", "--shape", model, folder / model)
        assert inspect(folder / model)["fingerprint"] == inspect(f"synth:{model}")["fingerprint"]
        assert dtype in inspect(f"synth:{model}")["types"]
        assert answer(folder / model, stages=3) == answer(f"synth:{model}", stages=1)

    # The same bytes on every machine: the queries of a tiny Llama have deviation 1.5 / sqrt(64).
    run("synth", "--shape", "tiny", "--dtype", "f32", "--seed", "5", folder / "tiny")
    name = "model.layers.2.self_attn.q_proj.weight"
    expected = [struct.unpack("<f", struct.pack("<f", 0.1875 * (level / 147.80053901119664)))[0] for level in levels(5, name + "#0", 3, 64)]
    assert row_of(folder / "tiny/model.safetensors", name, 3) == expected

    # 54 GB that lie nowhere, and what a published file of gpt-oss holds.
    types = inspect("synth:gpt-oss-20b")["types"]
    assert sum(entry["bytes"] for entry in types.values()) == 13_761_264_768, types
    large = inspect("synth:gemma-3-27b", "--stages", "3")
    assert large["types"]["BF16"]["bytes"] == 54_018_692_608, large["types"]
    assert len(large["stages"]) == 3
    part = inspect("synth:gemma-3-27b@20-43")
    assert part["n_layers"] == 24 and part["layer_bytes"][0] == large["layer_bytes"][20]
    plan = json.loads(run("plan", "synth:gemma-3-27b", "--json").stdout)
    assert plan["plan"]["cuts"], plan

    # The shapes that there are.
    shapes = {entry["shape"]: entry for entry in json.loads(run("synth", "--list", "--json").stdout)}
    assert shapes["gemma-3-27b"]["parameters"] == 27_009_346_304 and len(shapes) > 35
    assert "gemma-3-27b" in run("synth", "--list").stdout

    # What cannot be had.
    (folder / "full").mkdir()
    (folder / "full" / "file").write_text("mine")
    for arguments, expected in (
        (("--shape", "gemma-3-28b", folder / "new"), "the nearest: gemma-3-27b"),
        (("--shape", "gemma-3-27b", "--layers", "60-62", folder / "new"), "gemma-3-27b has 62, 0-61"),
        (("--shape", "gemma-4-e2b", "--layers", "20-34", folder / "new"), "begin at 13 or before"),
        (("--shape", "gpt-oss-21b-tiny", folder / "new"), "the nearest: gpt-oss-20b"),
        (("--shape", "tiny", "--layers", "3-1", folder / "new"), "as 20-43"),
        (("--shape", "tiny", "--dtype", "int8", folder / "new"), "bf16, f16, f32, q8_0"),
        (("--shape", "tiny", "--dtype", "q8_0", folder / "new"), "GGUF's"),
        (("--shape", "tiny", "--format", "onnx", folder / "new"), "safetensors, gguf"),
        (("--shape", "tiny", "--seed", "-1", folder / "new"), "2^64"),
        (("--shape", "tiny", "--scale-down", "100", folder / "new"), "1 to 64"),
        (("--shape", "tiny", "--tokenizer", "no-such-model", folder / "new"), "no-such-model"),
        (("--shape", "tiny", "--tokenizer", folder / "gguf", folder / "new"), "say format gguf"),
        (("--shape", "tiny", folder / "full"), "holds something"),
        (("--shape", "tiny", "--tokenizer", "/m/don&7", folder / "new"), 'holds "&"'),
        (("--shape", "tiny", "--tokenizer", "synth:tiny", folder / "new"), "write the made-up one first"),
        *(((("--shape", "llama-3.1-405b", folder / "new"), "takes 811"),) if shutil.disk_usage(folder).free < 811e9 else ()),
        (("--shape", "tiny"), "the folder to write"),
        ((folder / "new",), "--list"),
    ):
        done = run("synth", *arguments, code=2)
        assert expected in done.stderr and done.stderr.count("\n") == 1, (arguments, done.stderr)
        assert not (folder / "new").exists()
    assert [path.name for path in (folder / "full").iterdir()] == ["file"]
    for model in ("synth:gemma-3-28b", "synth:tiny@5-9"):
        assert "synth" in run("inspect", model, code=1).stderr
    assert "write it first" in run("pack", "synth:tiny", code=1).stderr

    # A disk that fills, and a person who has seen enough.
    full = run("synth", "--shape", "smollm2-135m", folder / "new", code=2, restore_signals=False,  # SIGXFSZ stays ignored: an error of the write
               preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)))
    assert "model.safetensors" in full.stderr and not (folder / "new").exists(), full.stderr
    writing = subprocess.Popen([PROGRAM, "synth", "--shape", "gemma-3-1b", folder / "new/inner"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: any(path.stat().st_size > 1 << 24 for path in folder.glob("new/inner/model.safetensors*")), 60, "some of it is written")
    writing.send_signal(signal.SIGINT)
    out, err = writing.communicate(timeout=60)
    assert writing.returncode != 0 and "stopped" in err, (writing.returncode, out, err)
    assert not (folder / "new").exists()
print("ok")
