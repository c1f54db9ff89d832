#!/usr/bin/env python3
"""Two stages that read their weights from gs://: a folder of an emulated Cloud Storage (fake-gcs-server) gives the local
file's answer, and each stage asks for its own tensors and the header only."""
import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from harness import PROGRAM, ROOT, SMOL, Chain, need

sys.path.insert(0, str(ROOT / "tests/cloud"))
from storage_emulator import Absent, emulator, make_bucket, upload  # noqa: E402

need(SMOL)
BUCKET = "commissure-test"


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
print("cloud_storage: ok")
