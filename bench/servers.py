"""The programs that the benches compare: how each is started, asked and ended."""
import contextlib
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests/support"))
from ports import free_port  # noqa: E402

PROGRAM = pathlib.Path(os.environ.get("COMMISSURE_PROGRAM", ROOT / "build/release/bin/commissure"))


class Server:
    """One program behind an OpenAI-compatible endpoint; start() and stop() bracket its life."""

    model_name = None  # sent with each request; None: the program serves just one

    def __init__(self, name):
        self.name, self.port = name, free_port()

    def __enter__(self):
        self.started = time.perf_counter()
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def pause(self):
        """Until resume() it will not be asked. Most programs rest by themselves."""

    def resume(self):
        pass

    def post(self, path, body, timeout=600):
        if self.model_name:
            body = {**body, "model": self.model_name}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
        return urllib.request.urlopen(request, timeout=timeout)

    def stream_times(self, prompt, max_tokens):
        """Seconds from the request to each event of a greedy completion that carries text."""
        body = {"prompt": prompt, "max_tokens": max_tokens, "temperature": 0, "ignore_eos": True, "stream": True}
        start, times = time.perf_counter(), []
        with self.post("/v1/completions", body) as response:
            for line in response:
                if line.startswith(b"data: {"):
                    times.append(time.perf_counter() - start)
        return times

    def first_token(self, limit_s=600):
        """Seconds from the program's start to its first token."""
        while time.perf_counter() - self.started < limit_s:
            try:
                if self.stream_times("Hi", 1):
                    return time.perf_counter() - self.started
            except OSError:
                self.check()
                time.sleep(0.002)
        raise SystemExit(f"{self.name} gave no token within {limit_s} s")

    def check(self):
        """Ends the bench if the program has ended."""

    def process_ids(self):
        """The program's processes: the one started and all below it."""
        children = {}
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(folder.name))
        found, queue = [], list(self.roots())
        while queue:
            found.append(queue.pop())
            queue += children.get(found[-1], [])
        return found

    def private_bytes(self):
        """Memory that no file backs, over all processes of the program."""
        total = 0
        for process in self.process_ids():
            for line in pathlib.Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith("Anonymous:"):
                    total += int(line.split()[1]) * 1024
        return total


class Commissure(Server):
    def __init__(self, model, stages=1, label=None, options=(), environment=None, packs=False):
        super().__init__(label or ("commissure" if stages == 1 else f"commissure x{stages}"))
        self.command = ["--model", model, "--stages", str(stages), "--port", str(self.port), *options]
        self.extra = environment or {}
        self.packs = packs

    def start(self):
        self.folder = tempfile.TemporaryDirectory()
        self.environment = dict(os.environ, COMMISSURE_RUN_DIR=self.folder.name + "/run", **self.extra)
        if self.packs:  # what is not in the cache of models, `up` leaves as it is
            subprocess.run([PROGRAM, "pack", self.command[1]], stdout=subprocess.DEVNULL, check=True)
            self.packs = False
        subprocess.run([PROGRAM, "up", "--local", "--detach", *self.command], env=self.environment, check=True, stderr=subprocess.DEVNULL)

    def stop(self):
        subprocess.run([PROGRAM, "down"], env=self.environment, stdout=subprocess.DEVNULL)
        self.folder.cleanup()

    def status(self):
        answer = subprocess.run([PROGRAM, "status", "--json"], env=self.environment, capture_output=True, text=True, check=True)
        return json.loads(answer.stdout)

    def roots(self):
        return [stage["pid"] for stage in self.status()["stages"]]


class Process(Server):
    """A program that runs as a child of this one."""

    def start(self):
        self.process = subprocess.Popen(self.command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        start_new_session=True)

    def check(self):
        if self.process.poll() is not None:
            raise SystemExit(f"{self.name} ended with status {self.process.returncode}: {' '.join(map(str, self.command))}")

    def stop(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def roots(self):
        return [self.process.pid]


class Llama(Process):
    """llama.cpp's server. Its context is shared by its slots, so each of `slots` streams gets its part of it."""

    environment = None

    def __init__(self, binaries, model, slots=1, context=4096):
        super().__init__("llama.cpp")
        self.command = [binaries / "llama-server", "-m", model, "--port", str(self.port), "-t", str(os.cpu_count()), "-c", str(context * slots),
                        "-np", str(slots), "--no-webui", "--cache-ram", "0"]


class LlamaRpc(Llama):
    """llama.cpp's server with its layers on `stages` RPC servers of this machine."""

    def __init__(self, binaries, model, stages=3):
        super().__init__(binaries, model)
        self.name = "llama.cpp RPC"
        ports = [free_port() for _ in range(stages)]
        self.workers = [[binaries / "ggml-rpc-server", "-H", "127.0.0.1", "-p", str(port), "-t", str(os.cpu_count())] for port in ports]
        self.command += ["-ngl", "99", "--rpc", ",".join(f"127.0.0.1:{port}" for port in ports)]

    def start(self):
        self.running = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for command in self.workers]
        time.sleep(1)  # they say nothing when they listen, and the server asks just once
        super().start()

    def stop(self):
        super().stop()
        for worker in self.running:
            worker.kill()
            worker.wait()


class Vllm(Process):
    """vLLM on the CPU, from the Python environment `python` belongs to."""

    def __init__(self, python, folder, context=4096):
        super().__init__("vLLM")
        self.model_name = "bench"
        self.command = [python, "-m", "vllm.entrypoints.cli.main", "serve", folder, "--served-model-name", self.model_name, "--dtype", "bfloat16",
                        "--max-model-len", str(context), "--port", str(self.port), "--no-enable-prefix-caching"]
        cores = f"0-{os.cpu_count() - 1}"
        self.environment = dict(os.environ, VLLM_TARGET_DEVICE="cpu", VLLM_CPU_KVCACHE_SPACE="4", VLLM_CPU_OMP_THREADS_BIND=cores,
                                HF_HUB_OFFLINE="1", VLLM_NO_USAGE_STATS="1", VLLM_LOGGING_LEVEL="ERROR")
        if os.environ.get("COMMISSURE_ISA") == "avx2":
            self.environment.update(PYTHONPATH=str(ROOT / "bench/avx2_vllm"), ATEN_CPU_CAPABILITY="avx2", ONEDNN_MAX_CPU_ISA="AVX2",
                                    MKL_ENABLE_INSTRUCTIONS="AVX2")

    def pause(self):
        os.killpg(self.process.pid, signal.SIGSTOP)  # its engine polls even when idle: a tenth of two cores and more

    def resume(self):
        os.killpg(self.process.pid, signal.SIGCONT)

    def stop(self):
        self.resume()
        super().stop()
