#!/usr/bin/env python3
"""The parts of `up` by hand, and weights that Cloud Build fetches: its shell steps run here, with the real `hf`, the real gcloud and a small hub."""
import contextlib
import pathlib
import tempfile
import time

from cloud_person import Person, fake_cloud
from harness import QUICK, SMOL, python_with

from fake_builder import Builder
from fake_hub import FakeHub


def parts_by_hand(google):
    """`build`, `upload` and `deploy`: each its part and nothing of the others; together what `up` makes."""
    me = Person(google, name="parts")
    for command, image, objects, services in (("build", True, False, False), ("upload", True, True, False), ("deploy", True, True, True)):
        me.run(command, "--source", str(me.source))
        have = (any("/repositories/parts/" in name for name in google.apis["tags"]), any(name.startswith("models/") for name in google.storage.names("demo-project-parts")),
                "parts-a" in google.run.services)
        assert have == (image, objects, services), (command, have)
    assert "Nothing to change." in me.up("--no-wake")[1]
    me.run("down")
    assert not any(name.startswith("parts-") for name in google.run.services) and "demo-project-parts" in google.storage.buckets, "the weights stay"
    me.run("down", "--all", "--yes")
    assert "demo-project-parts" not in google.storage.buckets


@contextlib.contextmanager
def cloud_build(google, hub):
    """Builds run their shell steps while this lasts, with a real `hf` and the real gcloud; the hub is reached under another address."""
    with tempfile.TemporaryDirectory() as folder:
        tools = pathlib.Path(folder)
        (tools / "pip").write_text("#!/bin/sh\n")  # what the step installs is there already
        (tools / "pip").chmod(0o755)
        (tools / "hf").symlink_to(python_with("hub", "huggingface_hub==2.4.0").parent / "hf")
        google.builder = Builder(google, {**google.environment(), "PATH": f"{tools}:{google.gcloud_path}", "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_PROXY": "127.0.0.1"})
        try:
            yield google.builder
        finally:
            google.builder.close()
            google.builder = None


def from_the_hub(google):
    """Weights that Cloud Build fetches: a gated repository without and with its token, a fetch that came in half, the same model baked; the laptop sends none of its bytes."""
    answers = []
    repository = {"acme/smol-GGUF": {"README.md": b"a model", "smol.Q4_1.gguf": SMOL.read_bytes(), "smol.Q8_0.gguf": b"another"}}
    with FakeHub(repository, token="hf_very_secret") as hub, cloud_build(google, hub):
        for weights in ("mounted", "baked"):
            me = Person(google, name="hubby", model="hf:acme/smol-GGUF", quantisation="Q4_1", model_name="smol", cuts=[10, 20], weights=weights)
            me.environment["HF_ENDPOINT"] = hub.url
            if weights == "mounted":
                before = len(google.calls)
                me.fails("acme/smol-GGUF: access refused (401)", "set HF_TOKEN")
                assert len(google.calls) == before, "nothing was asked"
                me.environment["HF_TOKEN"] = "hf_very_secret"  # our own reader may see the model now; Cloud Build has no token
                me.fails("step weights: ", "the model is gated: accept its terms at https://huggingface.co/acme/smol-GGUF", "hub_token: true", "export HF_TOKEN=")
            me.environment["HF_TOKEN"] = "hf_very_secret"
            me.write(hub_token=True)
            n_before = len(google.calls)
            me.up()
            sent = sum(len(body) for _, _, path, body in google.calls[n_before:] if "source" in path)
            assert sent < 1 << 20, "nothing of the model is sent from here"
            answers.append(me.run("ask", "--temperature", "0", "--max-tokens", "8", "What is the capital of France?")[0])
            stored = [name for name in google.storage.names("demo-project-hubby") if name.startswith("models/")]
            if weights == "mounted":
                folder = "models/acme-smol-GGUF-main-Q4_1"
                assert stored == [f"{folder}/commissure-weights.json", f"{folder}/smol.Q4_1.gguf"], stored
                assert google.storage.path("demo-project-hubby", stored[1]).read_bytes() == SMOL.read_bytes()
                assert "Nothing to change." in me.up("--no-wake")[1]
                google.storage.remove("demo-project-hubby", stored[1])
                _, err = me.up("--no-wake")
                assert f"0 objects with 0 bytes instead of 1 with {SMOL.stat().st_size}" in err and "image: unchanged" in err, err
            else:
                assert not stored, stored
            for method, host, path, body in google.calls:
                assert b"hf_very_secret" not in body, (method, host, path)
            me.run("down", "--all", "--yes")
    assert answers[0] == answers[1] and answers[0].strip(), answers


start = time.monotonic()
with fake_cloud() as google:
    parts_by_hand(google)
    print(f"build, upload, deploy: ok after {time.monotonic() - start:.0f} s")
    if not QUICK:
        from_the_hub(google)
print(f"cloud_build: ok in {time.monotonic() - start:.0f} s")
