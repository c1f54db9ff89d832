"""Somebody with a deployment file and a login, and the fake cloud that the real gcloud meets: for the tests that play through `commissure up`."""
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from harness import PROGRAM, ROOT, SMOL, need

sys.path.insert(0, str(ROOT / "tests/cloud"))
from fake_google import FakeGoogle  # noqa: E402
from quick_gcloud import QuickGcloud  # noqa: E402


@contextlib.contextmanager
def fake_cloud():
    """A fake of Google that starts the real program; skips the test where gcloud or the model is absent."""
    if shutil.which("gcloud") is None:
        print("SKIPPED: gcloud is absent (Google Cloud SDK): `up` on Cloud Run is NOT tested here")
        sys.exit(77)
    need(SMOL)
    with contextlib.ExitStack() as stack:
        gcloud = stack.enter_context(QuickGcloud())
        log = open(os.environ["COMMISSURE_TEST_CLOUD_LOG"], "w") if "COMMISSURE_TEST_CLOUD_LOG" in os.environ else None
        google = stack.enter_context(FakeGoogle(program=[str(PROGRAM)], log=log))
        google.gcloud, google.gcloud_path = gcloud, gcloud.path
        google.run.startup_seconds = 120
        yield google
    for folder in Person.folders:  # a failure leaves them to be looked at
        shutil.rmtree(folder)


class Person:
    """Somebody with a folder, a commissure.yaml and a login."""

    folders = []

    def __init__(self, google, **fields):
        self.google = google
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="commissure-e2e-cloud-"))
        Person.folders.append(self.folder)
        self.fields = {"name": "demo", "project": google.project, "region": "europe-west4", "model": str(SMOL), "stages": {"count": 3, "cpu": 2, "memory": "2Gi"},
                       "weights": "mounted", "access": "public", **fields}
        # A tree that looks like the source: the fake's Cloud Build compiles nothing.
        self.source = self.folder / "source"
        for name in ("deploy/Dockerfile", "deploy/cloudbuild.yaml", "src/LAYERS"):
            (self.source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.source / name)
        self.write()
        self.environment = dict(os.environ, **google.environment(), COMMISSURE_RUN_DIR=str(self.folder / "run"), PATH=google.gcloud_path)
        for name in ("COMMISSURE_URL", "COMMISSURE_API_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            self.environment.pop(name, None)

    def write(self, **fields):
        self.fields.update(fields)
        (self.folder / "commissure.yaml").write_text(json.dumps(self.fields))  # JSON is YAML

    def start(self, *arguments, **options):
        return subprocess.Popen([PROGRAM, *arguments], cwd=self.folder, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)

    def run(self, *arguments, status=0, timeout=300):
        process = self.start(*arguments)
        out, err = process.communicate(timeout=timeout)
        assert status is None or process.returncode == status, f"{arguments}: exit {process.returncode}\n{out}\n{err}"
        return out, err

    def up(self, *flags, status=0):
        return self.run("up", "--source", str(self.source), *flags, status=status)

    def fails(self, *words, command=("up",)):
        """Runs, and checks that the one line of the error holds all words."""
        flags = ["--source", str(self.source)] if command[0] in ("up", "deploy", "build", "upload") else []
        out, err = self.run(*command, *flags, status=1)
        line = err.strip().splitlines()[-1]
        assert line.startswith(f"commissure {command[0]}: "), err
        for word in words:
            assert word in line, f"{word!r} is not in: {line}"
        assert "Traceback" not in err
        return line
