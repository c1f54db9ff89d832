#!/usr/bin/env python3
"""The OpenAI Python and Node SDKs, the Vercel AI SDK and LangChain, unmodified, against three real stages. Installs them below the build folder once."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

from harness import PROGRAM, ROOT, SMOL, Chain, need, python_with

need(SMOL)
clients = pathlib.Path(PROGRAM).resolve().parents[3] / "test-clients"  # build/, shared by all presets
PACKAGES = ["openai@6", "ai@6", "@ai-sdk/openai-compatible@2", "@langchain/openai@1", "@langchain/core@1"]


def node_clients():
    folder = clients / "node-clients"
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "package.json").write_text(json.dumps({"name": "clients", "private": True, "type": "module"}))
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", *PACKAGES], cwd=folder, check=True)
        (folder / "ready").touch()
    return folder


with Chain(SMOL, stages=3) as chain:
    base = f"http://127.0.0.1:{chain.port}"
    python = python_with("openai", "openai==1.109.1")
    checks = [[python, ROOT / "tests/sdk/openai_python_check.py", base], [python, ROOT / "examples/openai_client.py", base + "/v1"]]
    if shutil.which("node") and shutil.which("npm"):
        for name in ("openai_node_check.mjs", "ai_sdks_check.mjs"):
            script = node_clients() / name  # beside node_modules, where node looks
            shutil.copy(ROOT / "tests/sdk" / name, script)
            checks.append(["node", script, base])
    else:
        print("SKIPPED: node and npm are absent, the Node clients were not tried")
    for check in checks:
        done = subprocess.run([str(part) for part in check], timeout=300, env={**os.environ, "OPENAI_API_KEY": "none"})
        if done.returncode != 0:
            sys.exit(f"{check[1]} failed")
print("sdk: ok")
