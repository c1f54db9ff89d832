#!/usr/bin/env python3
"""Broken models, flags and requests: one clear line or the right HTTP status, never a crash or a hang."""
import json
import os
import pathlib
import subprocess
import tempfile

from harness import PROGRAM, SMOL, Chain, need

need(SMOL)


def run(*arguments, environment=None):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=60, env={**os.environ, **(environment or {})})


def refused(expected, *arguments, code=1, environment=None):
    done = run(*arguments, environment=environment)
    assert done.returncode == code, (arguments, done.returncode, done.stderr)
    assert expected.lower() in done.stderr.lower(), (arguments, done.stderr)
    if code == 1 and arguments[0] != "stage":  # a stage logs its settings first
        assert done.stderr.count("\n") == 1, done.stderr
    return done


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    real = SMOL.read_bytes()
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"], "model_type": "llama"}')
    for title, data, expected in (
        ("empty.gguf", b"", "empty.gguf"),
        ("cut_header.gguf", real[:5000], "truncated"),
        ("cut_data.gguf", real[: len(real) // 2], "missing"),
        ("magic.gguf", b"GGML" + real[4:4096], "GGUF"),
        ("version.gguf", real[:4] + (77).to_bytes(4, "little") + real[8:8192], "version"),
        ("count.gguf", real[:8] + (2**60).to_bytes(8, "little") + real[16:8192], "tensor"),
        ("text.safetensors", b"hello world, this is no tensor file", "header"),
        ("huge.safetensors", (2**62).to_bytes(8, "little") + b"{}", "header"),
        ("overlap.safetensors", None, "overlap"),
    ):
        if data is None:
            header = json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}, "b": {"dtype": "F32", "shape": [4], "data_offsets": [8, 24]}}).encode()
            data = len(header).to_bytes(8, "little") + header + bytes(24)
        path = folder / title
        path.write_bytes(data)
        print(f"{title}: {refused(expected, 'inspect', str(path)).stderr.strip()[:200]}")
    (folder / "empty").mkdir()
    refused("config.json", "inspect", str(folder / "empty"))

refused("no model", "inspect", "not-there.gguf")
refused("cut", "inspect", str(SMOL), "--cuts", "10,10")
refused("cut", "inspect", str(SMOL), "--cuts", "40")
refused("cut", "inspect", str(SMOL), "--cuts", "ten")
refused("--local", "up")
refused("avx9", "stage", "--stage", "a", "--model", str(SMOL), "--isa", "avx9", "--port", "0")
refused("4294975376", "stage", "--stage", "a", "--model", str(SMOL), environment={"PORT": "4294975376"})
refused("plaintext to another machine", "stage", "--stage", "a", "--cuts", "5", "--model", str(SMOL), "--next", "127.evil.example:9000", "--port", "0")
refused("origin", "stage", "--model", str(SMOL), "--cors-origins", "a.example", "--port", "0")
refused('--tool-parser (COMMISSURE_TOOL_PARSER) is "xml"', "stage", "--model", str(SMOL), "--tool-parser", "xml", "--port", "0")
refused('--reasoning-parser (COMMISSURE_REASONING_PARSER) is "r1"', "stage", "--model", str(SMOL), "--reasoning-parser", "r1", "--port", "0")
refused("--allowed-hosts", "stage", "--model", str(SMOL), "--allowed-hosts", "http://a.example", "--port", "0")
refused("needs its successor", "stage", "--stage", "a", "--cuts", "5", "--model", str(SMOL))
refused("no GPU can be used", "stage", "--stage", "a", "--device", "cuda", "--model", str(SMOL), code=2)
refused("required", "pull", code=2)
for command in ("up", "ask", "chat", "status", "logs", "warm", "down", "stage", "inspect", "pull", "models"):
    text = run(command, "--help")
    assert text.returncode == 0 and "Example" in text.stdout, command

with Chain(SMOL, stages=2, flags=["--max-model-len", "512"]) as chain:
    def post(body, path="/v1/completions"):
        status, _, text = chain.request("POST", path, body)
        answer = json.loads(text)
        if status >= 400:
            assert answer["error"]["message"] and "type" in answer["error"], text
        return status, text

    cases = [
        (400, "{", "/v1/completions"), (400, '{"prompt": "a", "prompt": "b"}', "/v1/completions"), (400, "[]", "/v1/completions"),
        (400, {"max_tokens": 3}, "/v1/completions"), (400, {"prompt": 7}, "/v1/completions"), (400, {"prompt": ["a", 1]}, "/v1/completions"),
        (400, {"prompt": [99999999]}, "/v1/completions"), (400, {"prompt": [-1]}, "/v1/completions"), (400, {"prompt": "a", "temperature": "hot"}, "/v1/completions"),
        (400, {"prompt": "a", "temperature": 3}, "/v1/completions"), (400, {"prompt": "a", "top_p": -1}, "/v1/completions"), (400, {"prompt": "a", "n": 10**9}, "/v1/completions"),
        (400, {"prompt": "a", "stop": ""}, "/v1/completions"), (400, {"prompt": "a", "max_tokens": -2}, "/v1/completions"),
        (400, {"messages": []}, "/v1/chat/completions"), (400, {"messages": "hi"}, "/v1/chat/completions"), (400, {"messages": [{"role": "user"}]}, "/v1/chat/completions"),
        (400, {"messages": [{"role": "user", "content": "a"}], "top_logprobs": 2}, "/v1/chat/completions"),
        (400, {"messages": [{"role": "user", "content": "a"}], "tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": {"type": "function", "function": {"name": "g"}}}, "/v1/chat/completions"),
        (404, {"prompt": "a", "model": "gpt-17"}, "/v1/completions"), (404, {}, "/v1/nonsense"),
    ]
    for expected, body, path in cases:
        status, text = post(body, path)
        assert status == expected, (expected, status, body, text)
    status, text = post({"prompt": "word " * 600, "max_tokens": 5})
    assert status == 400 and "512" in text and "context_length_exceeded" in text, text
    assert chain.request("GET", "/v1/completions")[0] == 405
    assert chain.request("POST", "/v1/completions", "x" * (9 << 20))[0] == 413
    named = json.loads(post({"prompt": "a", "temperature": 3})[1])["error"]
    assert named["param"] == "temperature" and "3" in named["message"], named
    for asked in (-1, 10**9):
        cut = json.loads(post({"prompt": "a " * 400, "max_tokens": asked, "ignore_eos": True})[1])
        assert cut["usage"]["total_tokens"] == 512 and cut["choices"][0]["finish_reason"] == "length", cut["usage"]
    assert post({"prompt": "a", "max_tokens": 2, "stop": None, "seed": None, "whatever": 1})[0] == 200

with Chain(SMOL, stages=1, environment={"COMMISSURE_API_KEY": "sk-test-key"}) as chain:
    for path in ("/v1/models", "/metrics", "/props", "/tokenize"):
        assert chain.request("GET", path)[0] == 401, path
    status, _, text = chain.request("GET", "/health")
    assert status == 200 and json.loads(text)["stages"] == [{"stage": "a", "state": "ready"}], text
    assert json.loads(chain.request("GET", "/health", headers={"x-api-key": "sk-test-key"})[2])["stages"][0]["pid"]
    assert chain.request("GET", "/v1/models", headers={"Authorization": "Bearer an.identity.token", "x-api-key": "sk-test-key"})[0] == 200
    assert chain.request("GET", "/v1/models", headers={"Authorization": "Bearer sk-test-key"})[0] == 200
    assert chain.request("GET", "/v1/models", headers={"x-api-key": "sk-test-key"})[0] == 200
    assert chain.request("GET", "/v1/models", headers={"x-api-key": "sk-test-kez"})[0] == 401
    log = pathlib.Path(chain.state()["stages"][0]["log"]).read_text()
    assert "sk-test-key" not in log
    command_line = pathlib.Path(f"/proc/{chain.state()['stages'][0]['pid']}/cmdline").read_text()
    assert "sk-test-key" not in command_line
print("bad input: ok")
