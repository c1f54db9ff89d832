#!/usr/bin/env python3
"""The Python SDKs of OpenAI, Anthropic and Ollama, OpenAI's and Ollama's for Node, the Vercel AI SDK and LangChain, unmodified, against three real stages. Installs them below the build folder once."""
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys

from harness import PROGRAM, ROOT, SMOL, Chain, need, python_with, wait_until

need(SMOL)
clients = pathlib.Path(PROGRAM).resolve().parents[2] / "test-clients"  # build/, shared by all presets
PACKAGES = ["openai@6", "ai@6", "@ai-sdk/openai-compatible@2", "@langchain/openai@1", "@langchain/core@1", "ollama@0.6"]


def node_clients():
    folder = clients / "node-clients"
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "package.json").write_text(json.dumps({"name": "clients", "private": True, "type": "module"}))
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", *PACKAGES], cwd=folder, check=True)
        (folder / "ready").touch()
    return folder


COLD = '''
import sys, openai
client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="none", max_retries=0, timeout=120)
stream = client.chat.completions.create(model=client.models.list().data[0].id, messages=[{"role": "user", "content": "Hi"}], max_tokens=4, stream=True)
chunks = [chunk for chunk in stream]
assert chunks[-1].choices[0].finish_reason in ("stop", "length") and any(chunk.choices[0].delta.content for chunk in chunks), chunks
'''


def serves(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def first_from_cold(chain, python):
    """A stream that meets a cold chain hears how far it is, in comments that OpenAI's SDK passes over. A stage that stands still keeps it cold."""
    chain.run("down")
    chain.run(*chain.up_command, "--lazy")
    frozen = next(stage["pid"] for stage in chain.state()["stages"] if stage["name"] == "c")
    wait_until(lambda: serves(chain.port), 60, "stage a listens")
    os.kill(frozen, signal.SIGSTOP)
    sdk = subprocess.Popen([python, "-c", COLD, f"http://127.0.0.1:{chain.port}"])
    try:
        connection = http.client.HTTPConnection("127.0.0.1", chain.port, timeout=120)
        body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4, "stream": True, "stream_options": {"include_warming": True}}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        lines = []
        while sum(line.startswith(": warming a") for line in lines) < 2:
            line = response.readline().decode()
            assert line and not line.startswith("data: {\"id"), lines
            lines.append(line)
        event = next(lines[i + 1] for i, line in enumerate(lines) if line == "event: warming\n" and i + 1 < len(lines))
        assert [stage["stage"] for stage in json.loads(event.removeprefix("data: "))["stages"]][0] == "a", event
        assert sdk.poll() is None, "the SDK waits too"
    finally:
        os.kill(frozen, signal.SIGCONT)
    rest = response.read().decode()
    assert rest.rstrip().endswith("data: [DONE]") and '"finish_reason":"' in rest, rest
    assert sdk.wait(120) == 0
    print("from cold: ok")


with Chain(SMOL, stages=3) as chain:
    base = f"http://127.0.0.1:{chain.port}"
    python = python_with("openai", "openai==1.109.1")
    checks = [[python, ROOT / "tests/sdk/openai_python_check.py", base], [python, ROOT / "examples/openai_client.py", base + "/v1"],
              [python_with("anthropic", "anthropic==2.10.0"), ROOT / "tests/sdk/anthropic_python_check.py", base],
              [python_with("ollama", "ollama==0.6.3"), ROOT / "tests/sdk/ollama_python_check.py", base]]
    if shutil.which("node") and shutil.which("npm"):
        for name in ("openai_node_check.mjs", "ai_sdks_check.mjs", "ollama_node_check.mjs"):
            script = node_clients() / name  # beside node_modules, where node looks
            shutil.copy(ROOT / "tests/sdk" / name, script)
            checks.append(["node", script, base])
    else:
        print("SKIPPED: node and npm are absent, the Node clients were not tried")
    for check in checks:
        done = subprocess.run([str(part) for part in check], timeout=300, env={**os.environ, "OPENAI_API_KEY": "none"})
        if done.returncode != 0:
            sys.exit(f"{check[1]} failed")
    first_from_cold(chain, python)
print("sdk: ok")
