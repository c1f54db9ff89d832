#!/usr/bin/env python3
"""The parts of `up` by hand, the image built on this machine, and weights that Cloud Build fetches: its shell steps run here, with the real `hf`, the real gcloud and a small hub."""
import contextlib
import pathlib
import tempfile
import time

from cloud_person import Person, fake_cloud
from harness import QUICK, SMOL, python_with

from fake_builder import Builder
from fake_docker import Builders
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


def built_here(google):
    """`--local`: the first of docker, podman and buildah that answers builds and pushes, with a token that no argument and no file keeps; Cloud Build is not asked."""
    me = Person(google, name="homely")
    with Builders(google) as builders:
        me.environment["PATH"] = builders.path
        before = len(google.calls)
        me.fails("docker, podman and buildah are absent", "install one", command=("build", "--local"))
        builders.install("docker")
        builders.fail(docker_version="Client: 28\nCannot connect to the Docker daemon at unix:///var/run/docker.sock.")
        me.fails("docker (Cannot connect to the Docker daemon at unix:///var/run/docker.sock.) is installed and does not answer", "without this flag", command=("build", "--local"))
        me.write(image="registry.example/own:1")
        me.fails("`image` names one that is built", command=("build", "--local"))
        del me.fields["image"]
        me.write(weights="baked")
        me.fails("set weights: bucket", command=("up", "--local-image"))
        me.write(weights="mounted")
        dry, _ = me.up("--local-image", "--dry-run")
        assert "gcloud auth print-access-token --quiet | docker login --username=oauth2accesstoken --password-stdin europe-west4-docker.pkg.dev\n" in dry and "builds submit" not in dry, dry
        assert len(google.calls) == before, "nothing was asked"

        builders.install("podman")
        builders.calls()
        builders.fail(docker_version="no daemon", podman_build="STEP 9/12: RUN cmake\nfatal error: no space left on device\nexit status 1")
        me.fails("step image: fatal error: no space left on device", "make room on this machine's disk", command=("build", "--local"))
        assert [call[:2] for call in builders.calls()] == [["docker", "version"], ["podman", "version"], ["podman", "build"]], "nothing to undo"
        builders.fail(docker_push='denied: Permission "artifactregistry.repositories.uploadArtifacts" denied on resource')
        me.fails("step image: denied: Permission", "--role=roles/artifactregistry.writer", command=("build", "--local"))
        assert [call[1] for call in builders.calls()] == ["version", "build", "login", "push", "logout"] and not builders.is_logged_in(), "the token is not left behind"

        builders.fail()
        _, err = me.up("--local-image", "--no-wake")
        assert "image: one for all stages, built by docker on this machine" in err, err
        calls = builders.calls()
        image = calls[1][-2].removeprefix("--tag=")
        assert calls == [["docker", "version"], ["docker", "build", "--platform=linux/amd64", f"--file={me.source}/deploy/Dockerfile", f"--tag={image}", str(me.source)],
                         ["docker", "login", "--username=oauth2accesstoken", "--password-stdin", "europe-west4-docker.pkg.dev"], ["docker", "push", image],
                         ["docker", "logout", "europe-west4-docker.pkg.dev"]], calls
        assert image.startswith("europe-west4-docker.pkg.dev/demo-project/homely/commissure:") and not builders.is_logged_in()
        assert not any("cloudbuild" in host for _, host, _, _ in google.calls[before:]), "Cloud Build was not asked"
        assert "Nothing to change." in me.up("--no-wake")[1], "whoever built it"
        me.run("down", "--all", "--yes")


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
    built_here(google)
    print(f"build, upload, deploy: ok after {time.monotonic() - start:.0f} s")
    if not QUICK:
        from_the_hub(google)
print(f"cloud_build: ok in {time.monotonic() - start:.0f} s")
