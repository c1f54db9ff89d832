#!/usr/bin/env python3
"""`commissure pull` against a small hub on loopback: resume by range, checksum, token, revision pin, gated and missing repositories."""
import hashlib
import http.server
import json
import os
import pathlib
import subprocess
import tempfile
import threading

from harness import PROGRAM

WEIGHTS = bytes(range(256)) * 4096  # 1 MiB
CONFIG = b'{"architectures": ["LlamaForCausalLM"]}'
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(http.server.BaseHTTPRequestHandler):
    """The three calls that matter of the hub's HTTP, with faults on demand."""

    log = []            # (path, range, authorization)
    cut_next = 0        # cut this many downloads in the middle
    corrupt = False
    token = None        # required when set

    def log_message(self, *_):
        pass

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        cls = type(self)
        cls.log.append((self.path, self.headers.get("Range"), self.headers.get("Authorization")))
        if cls.token and self.headers.get("Authorization") != f"Bearer {cls.token}":
            return self.answer(401, b'{"error": "gated"}')
        if self.path in ("/api/models/acme/toy/revision/main", f"/api/models/acme/toy/revision/{COMMIT}", "/api/models/acme/toy/revision/v1.0"):
            return self.answer(200, json.dumps({"sha": COMMIT}).encode())
        if self.path == f"/api/models/acme/toy/tree/{COMMIT}?recursive=true":
            entries = [{"type": "file", "path": "config.json", "size": len(CONFIG)},
                       {"type": "file", "path": "README.md", "size": 5},
                       {"type": "directory", "path": "onnx", "size": 0},
                       {"type": "file", "path": "model.safetensors", "size": len(WEIGHTS),
                        "lfs": {"oid": hashlib.sha256(WEIGHTS).hexdigest(), "size": len(WEIGHTS)}}]
            return self.answer(200, json.dumps(entries).encode())
        if self.path == f"/acme/toy/resolve/{COMMIT}/config.json":
            return self.answer(200, CONFIG)
        if self.path == f"/acme/toy/resolve/{COMMIT}/model.safetensors":
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-")) if self.headers.get("Range") else 0
            body = WEIGHTS[start:]
            if cls.corrupt:
                body = bytes(len(body))
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(WEIGHTS) - 1}/{len(WEIGHTS)}")
            self.end_headers()
            if cls.cut_next > 0:
                cls.cut_next -= 1
                self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                self.connection.close()
                return None
            return self.wfile.write(body)
        return self.answer(404, b'{"error": "not found"}')


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
threading.Thread(target=server.serve_forever, daemon=True).start()

with tempfile.TemporaryDirectory() as folder:
    cache = pathlib.Path(folder)
    hub = f"http://127.0.0.1:{server.server_port}"
    base = {key: value for key, value in os.environ.items() if "proxy" not in key.lower() and not key.startswith("HF_")}

    def pull(*arguments, **environment):
        return subprocess.run([PROGRAM, "pull", *arguments], capture_output=True, text=True, timeout=120,
                              env={**base, "COMMISSURE_CACHE": str(cache), "HF_ENDPOINT": hub, **environment})

    target = cache / "models/acme/toy/model.safetensors"

    # A broken connection is taken up again by range.
    Hub.cut_next = 2
    done = pull("hf:acme/toy")
    assert done.returncode == 0, done.stderr
    assert target.read_bytes() == WEIGHTS and (cache / "models/acme/toy/config.json").read_bytes() == CONFIG
    ranges = [item[1] for item in Hub.log if item[0].endswith("model.safetensors")]
    assert ranges[0] is None and ranges[1] and ranges[2] and len(ranges) == 3, ranges
    assert not (cache / "models/acme/toy/README.md").exists(), "only what serving needs"
    assert "\x1b" not in done.stderr

    # What is there stays.
    Hub.log.clear()
    assert pull("hf:acme/toy").returncode == 0
    assert not [item for item in Hub.log if "/resolve/" in item[0]], Hub.log

    # An interrupted program goes on where it stopped.
    target.rename(target.with_suffix(".safetensors.partial"))
    partial = target.with_suffix(".safetensors.partial")
    partial.write_bytes(WEIGHTS[:300000])
    Hub.log.clear()
    assert pull("hf:acme/toy").returncode == 0 and target.read_bytes() == WEIGHTS
    assert [item[1] for item in Hub.log if item[0].endswith("model.safetensors")] == ["bytes=300000-"], Hub.log

    # A wrong checksum is told and not kept.
    target.unlink()
    Hub.corrupt = True
    wrong = pull("hf:acme/toy")
    assert wrong.returncode == 1 and "SHA-256" in wrong.stderr and not target.exists() and not partial.exists(), wrong.stderr
    Hub.corrupt = False
    assert pull("hf:acme/toy", "--revision", "v1.0").returncode == 0

    # Missing, malformed and gated repositories; the token is sent and never shown.
    for what, expected in (("hf:acme/none", "no such repository"), ("hf:nonsense", "OWNER/REPO"), ("hf:acme/toy/../x", "OWNER/REPO")):
        refused = pull(what)
        assert refused.returncode == 1 and expected in refused.stderr and refused.stderr.count("\n") == 1, refused.stderr
    Hub.token = "hf_secret"
    target.unlink()
    gated = pull("hf:acme/toy")
    assert gated.returncode == 1 and "HF_TOKEN" in gated.stderr, gated.stderr
    wrong_token = pull("hf:acme/toy", HF_TOKEN="hf_wrong")
    assert wrong_token.returncode == 1 and "hf_wrong" not in wrong_token.stderr + wrong_token.stdout
    assert pull("hf:acme/toy", HF_TOKEN="hf_secret").returncode == 0
    Hub.token = None

    # Without hf: it is no name; the message has the right one. A file of the repository may be named.
    hint = pull("acme/toy")
    assert hint.returncode == 1 and "commissure pull hf:acme/toy" in hint.stderr, hint.stderr
    nameless = pull("hf:acme/toy:NONE.gguf")
    assert nameless.returncode == 1 and "holds no file" in nameless.stderr, nameless.stderr

    # `models` tells weights and packed weights apart; `rm` takes either away.
    def models(*arguments):
        return subprocess.run([PROGRAM, "models", *arguments], capture_output=True, text=True, env={**base, "COMMISSURE_CACHE": str(cache)})

    (target.parent / "model.r16-2.pack").write_bytes(bytes(3000))
    listed = {model["name"]: model for model in json.loads(models("--json").stdout)}
    assert listed["acme/toy"]["pack_bytes"] == 3000 and listed["acme/toy"]["bytes"] == len(WEIGHTS) + len(CONFIG), listed
    row = next(line for line in models().stdout.splitlines() if line.startswith("acme/toy"))
    assert "1.0 MB" in row and "3.0 KB" in row, row
    assert all(len(line) <= 80 for line in models().stdout.splitlines()[:-1]), models().stdout
    assert models("rm", "--pack", "acme/toy").returncode == 0 and target.exists()
    assert not list(target.parent.glob("*.pack"))
    assert models("rm", "acme/none").returncode == 1
    assert models("rm", "acme/toy").returncode == 0 and not (cache / "models/acme").exists()

    # A URL, with and without the right checksum; nobody there.
    url = f"{hub}/acme/toy/resolve/{COMMIT}/model.safetensors"
    assert pull(url, "--sha256", "0" * 64).returncode == 1
    assert pull(url, "--sha256", hashlib.sha256(WEIGHTS).hexdigest()).returncode == 0
    server.shutdown()
    server.server_close()
    nobody = pull("hf:acme/other")
    assert nobody.returncode == 1 and "nothing answers there" in nobody.stderr, nobody.stderr
    # Typos get what was meant; the bare program its overview.
    def call(*arguments):
        return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, env=base, timeout=60)

    assert "commissure ask?" in call("askk").stderr and call("askk").returncode == 2
    assert "--model?" in call("up", "--local", "--modle", "x").stderr
    assert call().returncode == 0 and "COMMISSURE_RUN_DIR" in call().stdout and "supervise" not in call().stdout
    unknown = pull("no-such-model")
    assert unknown.returncode == 1 and "smollm2-135m" in unknown.stderr, unknown.stderr
print("pull: ok")
