#!/usr/bin/env bash
# Puts links to the cached test models into build/test-models, where the tests look for them.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p build/test-models
./commissure models --json | python3 -c '
import json, os, pathlib, sys
for model in json.load(sys.stdin):
    if model["cached"] and model["name"] in ("smollm2-135m", "gemma3-270m"):
        for file in pathlib.Path(model["path"]).glob("*.gguf"):
            link = pathlib.Path("build/test-models") / file.name
            if not link.exists():
                link.unlink(missing_ok=True)
                link.symlink_to(file)
'
