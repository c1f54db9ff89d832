#!/usr/bin/env python3
"""Two stages that read their weights from gs://: a folder of an emulated Cloud Storage (fake-gcs-server) gives the local
file's answer, and each stage asks for its own tensors and the header only; while it loads it holds little more than them."""
import contextlib
import json
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile

from harness import PROGRAM, QUICK, ROOT, SMOL, Chain, need, python_with

sys.path.insert(0, str(ROOT / "tests/cloud"))
from storage_emulator import Absent, emulator, make_bucket, upload  # noqa: E402

need(SMOL)
BUCKET = "commissure-test"
MIB = 1 << 20


def ask(chain):
    body = {"prompt": "The capital of France is", "max_tokens": 12, "temperature": 0, "logprobs": 1}
    choice = chain.post("/v1/completions", body)["choices"][0]
    return choice["text"], choice["logprobs"]["token_logprobs"]


def planned_cuts(model, environment):
    """Where `up` on Cloud Run would cut a model; of one in a bucket it reads the header."""
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "commissure.yaml").write_text(json.dumps({"name": "demo", "project": "acme", "region": "europe-west4", "model": str(model), "image": "x/y:1", "stages": 3}))
        done = subprocess.run([PROGRAM, "up", "--dry-run"], cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return sorted(set(re.findall(r"\bK[12]=\d+", done.stdout)))


def write_wide_model(folder):
    """SmolLM2's tokenizer with float32 zeros: one tensor larger than all that may be held over the weights, and 36 of up to 25 MB."""
    subprocess.run([python_with("gguf", "gguf==0.17.1"), ROOT / "tests/e2e/gguf_to_safetensors.py", SMOL, folder], check=True)
    for shard in folder.glob("model*"):
        shard.unlink()
    config = json.loads((folder / "config.json").read_text())
    d, ff, kv, n_layers = 1536, 4096, 512, 4
    config.update(hidden_size=d, intermediate_size=ff, num_hidden_layers=n_layers, num_attention_heads=12, num_key_value_heads=4)
    (folder / "config.json").write_text(json.dumps(config))
    shapes = {"embed_tokens": [config["vocab_size"], d], "norm": [d]}
    for layer in range(n_layers):
        for name, shape in (("input_layernorm", [d]), ("self_attn.q_proj", [d, d]), ("self_attn.k_proj", [kv, d]), ("self_attn.v_proj", [kv, d]), ("self_attn.o_proj", [d, d]),
                            ("post_attention_layernorm", [d]), ("mlp.gate_proj", [ff, d]), ("mlp.up_proj", [ff, d]), ("mlp.down_proj", [d, ff])):
            shapes[f"layers.{layer}.{name}"] = shape
    header, at = {}, 0
    for name, shape in shapes.items():
        n_bytes = 4 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[f"model.{name}.weight"] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + n_bytes]}
        at += n_bytes
    text = json.dumps(header).encode()
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + at)


def memory_while_loading(host, environment):
    """The most that a stage ever held, from its start until it was ready, is its weights and 256 MiB."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_wide_model(folder)
        for path in folder.iterdir():
            upload(host, BUCKET, f"models%2Fwide%2F{path.name}", path.read_bytes())
    with Chain(f"gs://{BUCKET}/models/wide", stages=2, environment=environment) as chain:
        for stage, process in zip(chain.status()["stages"], chain.state()["stages"]):
            peak = int(re.search(r"VmHWM:\s+(\d+) kB", pathlib.Path(f"/proc/{process['pid']}/status").read_text())[1]) * 1024
            print(f"stage {stage['stage']}: {stage['weight_bytes'] / MIB:.0f} MiB of weights, {peak / MIB:.0f} MiB held at most, {(peak - stage['weight_bytes']) / MIB:.0f} over them")
            assert stage["weight_bytes"] > 300 * MIB and peak - stage["weight_bytes"] <= 256 * MIB, (stage, peak)
            assert stage["source_bytes_read"] <= 1.01 * stage["weight_bytes"] + 2 * MIB, stage  # config and tokenizer


with Chain(SMOL, stages=2) as chain:
    expected = ask(chain)

with contextlib.ExitStack() as stack:
    try:
        host = stack.enter_context(emulator())
    except Absent as absent:
        print(f"SKIPPED: {absent}")
        sys.exit(77)
    make_bucket(host, BUCKET)
    upload(host, BUCKET, "models%2Fsmol%20lm%2Fmodel.gguf", SMOL.read_bytes())
    upload(host, BUCKET, "models%2Fsmol%20lm%2FREADME.md", b"not a model")
    # Proxies of the environment must not see loopback; COMMISSURE_GCS_TOKEN must not be sent to an emulator.
    environment = {"STORAGE_EMULATOR_HOST": host, "COMMISSURE_GCS_TOKEN": "not-for-emulators"}

    with Chain(f"gs://{BUCKET}/models/smol lm", stages=2, environment=environment) as chain:
        assert ask(chain) == expected, (ask(chain), expected)
        header_bytes = SMOL.stat().st_size // 20  # the vocabulary and the tensor table
        for stage in chain.status()["stages"]:
            read, weights = stage["source_bytes_read"], stage["weight_bytes"]
            print(f"stage {stage['stage']}: {read} bytes read for {weights} bytes of weights")
            assert weights <= read <= weights * 1.01 + header_bytes, stage

    assert planned_cuts(f"gs://{BUCKET}/models/smol lm", environment) == planned_cuts(SMOL, environment)

    for location, words in [(f"gs://{BUCKET}/models/none.gguf", "does not exist (HTTP 404)"), (f"gs://{BUCKET}/models/", "holds no model")]:
        chain = Chain(location, stages=2, environment=environment)
        with contextlib.closing(chain):
            done = chain.up(check=False)
            assert done.returncode != 0 and words in done.stderr + done.stdout, (location, done)
    if not QUICK:  # a sanitizer's own memory would be measured
        memory_while_loading(host, environment)
print("cloud_storage: ok")
