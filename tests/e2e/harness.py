"""What the whole-program tests share: a chain of real stage processes in a private run folder, and a tiny HTTP client.

Every test is a plain Python program: asserts, prints what it saw, exit status 0 or 1 (77: skipped).
"""
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import venv

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests/support"))
from ports import free_port  # noqa: E402, F401

PROGRAM = pathlib.Path(os.environ.get("COMMISSURE_PROGRAM", ROOT / "build/release/bin/commissure"))
MODELS = pathlib.Path(os.environ.get("COMMISSURE_TEST_MODELS", ROOT / "build/test-models"))
# Set where every instruction is checked and slow (sanitizers): the same paths on fewer and shorter inputs.
QUICK = os.environ.get("COMMISSURE_TEST_QUICK") == "1"
ALL = os.environ.get("COMMISSURE_TEST_ALL") == "1"  # also what is slow and much like what else is tested
SMOL = MODELS / "SmolLM2-135M-Instruct.Q4_1.gguf"
GEMMA = MODELS / "gemma-3-270m-q4_k_m.gguf"


def need(*paths):
    """Skips the test when a model is not here."""
    for path in paths:
        if not path.exists():
            print(f"SKIPPED: {path} is absent; `make models` fetches it")
            sys.exit(77)


def python_with(name, *requirements):
    """A Python that has these packages, installed once below the build folder."""
    folder = pathlib.Path(PROGRAM).resolve().parents[2] / "test-clients" / name  # build/, shared by all presets
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        subprocess.run([folder / "bin/python", "-m", "pip", "install", "-q", *requirements], check=True)
        (folder / "ready").touch()
    return folder / "bin/python"


def wait_until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


class Chain:
    """`commissure up --local --detach` in a folder of its own; taken down on exit."""

    def __init__(self, model, stages=3, cuts=None, flags=(), environment=None):
        self.folder = tempfile.TemporaryDirectory(prefix="commissure-e2e-")
        self.port = free_port()
        self.environment = dict(os.environ, COMMISSURE_RUN_DIR=self.folder.name + "/run", **(environment or {}))
        self.environment.pop("COMMISSURE_URL", None)
        split = ["--cuts", cuts] if cuts else ["--stages", str(stages)]
        self.up_command = ["up", "--local", "--detach", "--model", str(model), "--port", str(self.port), *split, *flags]

    def run(self, *arguments, check=True, stdin=None, timeout=180):
        done = subprocess.run([PROGRAM, *arguments], env=self.environment, capture_output=True, text=True, input=stdin, timeout=timeout)
        if check and done.returncode != 0:
            raise AssertionError(f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def up(self, **options):
        return self.run(*self.up_command, **options)

    def status(self):
        return json.loads(self.run("status", "--json", check=False).stdout)

    def state(self, name="local"):
        return json.loads((pathlib.Path(self.folder.name) / "run" / name / "state.json").read_text())

    def processes(self):
        """The command lines of all processes that run in this chain's folder."""
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"COMMISSURE_RUN_DIR={self.folder.name}/run".encode() in (path / "environ").read_bytes().split(b"\0"):
                    found.append((path / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        return found

    def __enter__(self):
        try:
            self.up()
        except BaseException:
            self.close()
            raise
        return self

    def close(self):
        self.run("down", check=False)
        self.folder.cleanup()

    def __exit__(self, *_):
        self.close()

    # HTTP

    def request(self, method, path, body=None, headers=None, timeout=120):
        """(status, headers, text)"""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection):
            payload = json.dumps(body) if isinstance(body, (dict, list)) else body
            connection.request(method, path, payload, {"Content-Type": "application/json", **(headers or {})})
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read().decode()

    def post(self, path, body, timeout=120):
        status, _, text = self.request("POST", path, body, timeout=timeout)
        assert status == 200, f"{path}: {status} {text}"
        return json.loads(text)

    def stream(self, path, body, timeout=120):
        """The JSON of every event, in order; [DONE] ends it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection):
            connection.request("POST", path, json.dumps({**body, "stream": True}), {"Content-Type": "application/json"})
            response = connection.getresponse()
            assert response.status == 200, response.read()
            for line in response:
                line = line.decode().strip()
                if line.startswith("data: ") and line != "data: [DONE]":
                    yield json.loads(line[6:])

    def metric(self, name):
        """The sum of a metric's samples."""
        text = self.request("GET", "/metrics")[2]
        values = [float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.split("{")[0].split(" ")[0] == name]
        return sum(values) if values else None


class StagesByHand(Chain):
    """`commissure stage` for each letter of the cuts; `port` is that of the stage A started last."""

    def __init__(self, cuts, **environment):
        self.folder = tempfile.TemporaryDirectory(prefix="commissure-e2e-")
        self.cuts, self.n_stages = cuts, cuts.count(",") + 2
        self.environment = {key: value for key, value in os.environ.items() if key not in ("CUTS", "STAGE")} | environment
        self.processes = {}

    def start(self, letter, name=None, **environment):
        name = name or letter
        address = f"unix:{self.folder.name}/"
        pathlib.Path(f"{self.folder.name}/lease").touch()
        last = ord(letter) - ord("a") == self.n_stages - 1
        flags = ["--stage", letter, "--cuts", self.cuts, "--model", str(SMOL), "--lease", f"{self.folder.name}/lease", "--no-prefix-caching"]
        if letter == "a":
            self.port = free_port()
            flags += ["--port", str(self.port)]
        else:
            flags += ["--listen", address + letter]
        if not last:
            flags += ["--next", address + chr(ord(letter) + 1)]
        with open(f"{self.folder.name}/{name}.log", "a") as log:
            self.processes[name] = subprocess.Popen([PROGRAM, "stage", *flags], stderr=log, env=self.environment | environment, text=True)
        return self.port if letter == "a" else None

    def log(self, name):
        return pathlib.Path(f"{self.folder.name}/{name}.log").read_text()

    def is_well(self):
        return self.health() == 200

    def health(self):
        """The status of /health; None while nobody listens."""
        with contextlib.suppress(OSError):
            return self.request("GET", "/health", timeout=20)[0]
        return None

    def kill(self, name):
        self.processes[name].kill()
        self.processes.pop(name).wait(20)

    def close(self):
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)
        self.folder.cleanup()

    def __enter__(self):
        return self


def process_alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):  # gone, or going while we read
        return False
