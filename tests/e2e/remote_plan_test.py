#!/usr/bin/env python3
"""Cuts of a model that lies elsewhere: `plan` and `up --dry-run` read its header by ranges, from a hub and behind a URL, and plan what they plan for the files."""
import http.server
import json
import os
import pathlib
import re
import struct
import subprocess
import tempfile
import threading

from harness import PROGRAM, SMOL

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "tie_word_embeddings": False, "hidden_size": 1024, "intermediate_size": 4096,
          "num_hidden_layers": 12, "num_attention_heads": 16, "num_key_value_heads": 4, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
          "vocab_size": 32000, "eos_token_id": 2}


def shapes():
    d, ff, kv = 1024, 4096, 256
    yield from (("model.embed_tokens.weight", [32000, d]), ("lm_head.weight", [32000, d]), ("model.norm.weight", [d]))
    for layer in range(12):
        for name, shape in (("input_layernorm", [d]), ("post_attention_layernorm", [d]), ("self_attn.q_proj", [d, d]), ("self_attn.k_proj", [kv, d]), ("self_attn.v_proj", [kv, d]),
                            ("self_attn.o_proj", [d, d]), ("mlp.gate_proj", [ff, d]), ("mlp.up_proj", [ff, d]), ("mlp.down_proj", [d, ff])):
            yield f"model.layers.{layer}.{name}.weight", shape


def write_model(folder):
    """Two shards with headers and holes."""
    weight_map = {}
    for number, tensors in enumerate((list(shapes())[:60], list(shapes())[60:]), 1):
        name, header, at = f"model-{number:05}-of-00002.safetensors", {}, 0
        for tensor, shape in tensors:
            size = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
            header[tensor] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
            weight_map[tensor] = name
            at += size
        text = json.dumps(header).encode()
        with open(folder / name, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            file.truncate(8 + len(text) + at)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / "config.json").write_text(json.dumps(CONFIG))


class Hub(http.server.BaseHTTPRequestHandler):
    """A hub with one gated repository, and a URL that anybody may read."""
    protocol_version = "HTTP/1.1"
    folder, n_sent = None, 0

    def log_message(self, *_):
        pass

    def answer(self, status, body, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path.endswith("/acme/toy-GGUF/revision/main"):
            return self.answer(200, json.dumps({"sha": COMMIT}).encode())
        if self.path == f"/api/models/acme/toy-GGUF/tree/{COMMIT}?recursive=true":
            return self.answer(200, json.dumps([{"type": "file", "path": name, "size": 1} for name in ("README.md", "toy.Q4_1.gguf", "Q8_0/toy-Q8_0-00001-of-00002.gguf",
                                                                                                   "Q8_0/toy-Q8_0-00002-of-00002.gguf", "mmproj-F16.gguf")]).encode())
        if self.path in ("/free/model.gguf", f"/acme/toy-GGUF/resolve/{COMMIT}/toy.Q4_1.gguf"):
            return self.send_range(SMOL)
        if self.headers.get("Authorization") != "Bearer hf_secret":
            return self.answer(401, b'{"error": "gated"}')
        if self.path == "/api/models/acme/toy/revision/main":
            return self.answer(200, json.dumps({"sha": COMMIT}).encode())
        if self.path == f"/api/models/acme/toy/tree/{COMMIT}?recursive=true":
            return self.answer(200, json.dumps([{"type": "file", "path": path.name, "size": path.stat().st_size} for path in self.folder.iterdir()]).encode())
        file = self.folder / self.path.removeprefix(f"/acme/toy/resolve/{COMMIT}/")
        return self.send_range(file) if file.is_file() else self.answer(404, b"")

    def send_range(self, path):
        size = path.stat().st_size
        first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "bytes=0-")).groups()
        last = min(int(last or size), size - 1)
        with open(path, "rb") as file:
            file.seek(int(first))
            body = file.read(last + 1 - int(first))
        Hub.n_sent += len(body)
        self.answer(206, body, Content_Range=f"bytes {first}-{last}/{size}", ETag='"one"')


def commissure(folder, *arguments, **environment):
    clean = {name: value for name, value in os.environ.items() if "proxy" not in name.lower() and not name.startswith("HF_")}
    return subprocess.run([PROGRAM, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, env={**clean, **environment})


def planned_cuts(folder, model, n_stages=3, **environment):
    """The cuts that `up` would deploy, and those that `plan` computes with."""
    (folder / "commissure.yaml").write_text(json.dumps({"name": "demo", "project": "acme", "region": "europe-west4", "model": str(model), "image": "registry.example/commissure:1",
                                                        "stages": {"count": n_stages, "cpu": 4, "memory": "16Gi"}}))
    done = commissure(folder, "up", "--dry-run", **environment)
    assert done.returncode == 0, done.stderr
    cuts = [int(cut) for cut in re.findall(r"\bK\d+=(\d+)", next(line for line in done.stdout.splitlines() if "run deploy demo-a" in line))]
    planned = commissure(folder, "plan", "--json", **environment)
    assert planned.returncode == 0, planned.stderr
    assert json.loads(planned.stdout)["plan"]["cuts"] == cuts and "hf_secret" not in done.stdout + planned.stdout
    return cuts, [stage["weight_bytes"] for stage in json.loads(planned.stdout)["plan"]["stages"]]


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    Hub.folder = folder / "toy"
    Hub.folder.mkdir()
    write_model(Hub.folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"

    here = planned_cuts(folder, Hub.folder)
    there = planned_cuts(folder, "hf:acme/toy", HF_ENDPOINT=address, HF_TOKEN="hf_secret")
    assert there == here and len(here[0]) == 2, (there, here)
    n_bytes = sum(path.stat().st_size for path in Hub.folder.iterdir())
    assert Hub.n_sent < n_bytes // 20, (Hub.n_sent, n_bytes)
    print(f"hub: cut at {here[0]}, {Hub.n_sent} bytes read of {n_bytes}")

    assert planned_cuts(folder, "hf:acme/toy-GGUF:q4_1", HF_ENDPOINT=address) == planned_cuts(folder, SMOL)
    (folder / "commissure.yaml").write_text((folder / "commissure.yaml").read_text().replace(json.dumps(str(SMOL)), '"hf:acme/toy-GGUF", "quantisation": "Q8_0", "cuts": [10, 20]'))
    many = commissure(folder, "up", "--dry-run", HF_ENDPOINT=address)
    assert many.returncode == 0 and "MODEL_DIR=gs://acme-demo/models/acme-toy-GGUF-main-Q8_0/Q8_0/toy-Q8_0-00001-of-00002.gguf" in many.stdout, many
    assert "INCLUDE=Q8_0/toy-Q8_0-00001-of-00002.gguf\\nQ8_0/toy-Q8_0-00002-of-00002.gguf" in many.stdout, many.stdout
    for model in ("hf:acme/toy-GGUF:Q5_0", "hf:acme/toy-GGUF"):
        none = commissure(folder, "plan", model, HF_ENDPOINT=address)
        assert none.returncode == 1 and "choose one with hf:acme/toy-GGUF:QUANTISATION; there are: Q4_1, Q8_0" in none.stderr, none
    planned_cuts(folder, "hf:acme/toy", HF_ENDPOINT=address, HF_TOKEN="hf_secret")

    n_before = Hub.n_sent
    assert commissure(folder, "up", "--dry-run", HF_ENDPOINT=address, HF_TOKEN="hf_secret").returncode == 0
    n_header, n_before = Hub.n_sent - n_before, Hub.n_sent
    stopped = commissure(folder, "up", HF_ENDPOINT=address, HF_TOKEN="hf_secret", PATH="/nonexistent")
    assert stopped.returncode == 1 and "gcloud is not installed" in stopped.stderr, stopped
    assert Hub.n_sent - n_before == n_header, "`up` plans and cuts from one reading of the header"

    refused = commissure(folder, "up", "--dry-run", HF_ENDPOINT=address)
    assert refused.returncode == 1 and refused.stderr.count("\n") == 1, refused
    assert "set HF_TOKEN" in refused.stderr and "say where to cut it, e.g. cuts: [20, 44]" in refused.stderr, refused.stderr
    (folder / "commissure.yaml").write_text((folder / "commissure.yaml").read_text().replace('"stages"', '"cuts": [3, 7], "stages"'))
    assert commissure(folder, "up", "--dry-run", HF_ENDPOINT=address).returncode == 0, "written cuts need no header"

    if SMOL.exists():
        assert planned_cuts(folder, f"{address}/free/model.gguf") == planned_cuts(folder, SMOL)
        print("URL: as the file")
    server.shutdown()
print("remote_plan: ok")
