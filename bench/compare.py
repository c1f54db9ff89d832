#!/usr/bin/env python3
"""Speed of Commissure and llama.cpp through their servers: same file, machine, client and run, one after the other in turn.

Per model: decode tok/s of one stream, prefill tok/s of a 512-token prompt, start to first token. Commissure as one process and as
three local stages. Prints medians, ratios and the share of the memory bandwidth, and appends to bench/records/YYYY-MM-DD.csv.
"""
import argparse
import csv
import datetime
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[1]
PROGRAM = ROOT / "build/release/src/apps/commissure"
# Bytes a decoded token reads: blocks and head.
MODELS = {"SmolLM2-135M-Instruct.Q4_1.gguf": 95.9e6, "gemma-3-270m-q4_k_m.gguf": 246.4e6}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def post(port, path, body, timeout=300):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
    return json.loads(urllib.request.urlopen(request, timeout=timeout).read())


def stream_times(port, body, timeout=300):
    """Seconds from the request to each event that carries text."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/completions", json.dumps({**body, "stream": True}).encode(),
                                     {"Content-Type": "application/json"})
    start, times = time.perf_counter(), []
    with urllib.request.urlopen(request, timeout=timeout) as response:
        for line in response:
            if line.startswith(b"data: {"):
                times.append(time.perf_counter() - start)
    return times


class Server:
    """One program, started for a round and ended after it."""

    def __init__(self, name):
        self.name, self.port = name, free_port()

    def __enter__(self):
        self.started = time.perf_counter()
        self.start()
        return self

    def first_token(self):
        """Seconds from the program's start to its first token."""
        while True:
            try:
                times = stream_times(self.port, {"prompt": "Hi", "max_tokens": 1, "temperature": 0, "ignore_eos": True})
                if times:
                    return time.perf_counter() - self.started
            except OSError:
                time.sleep(0.002)


class Llama(Server):
    def __init__(self, binaries, model):
        super().__init__("llama.cpp")
        self.command = [binaries / "llama-server", "-m", model, "--port", str(self.port), "-t", str(os.cpu_count()), "-c", "4096", "-np", "1",
                        "--no-webui", "--cache-ram", "0"]

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


class Commissure(Server):
    def __init__(self, model, stages):
        super().__init__("commissure" if stages == 1 else f"commissure x{stages}")
        self.model, self.stages = model, stages

    def start(self):
        self.folder = tempfile.TemporaryDirectory()
        self.environment = dict(os.environ, COMMISSURE_RUN_DIR=self.folder.name + "/run")
        subprocess.run([PROGRAM, "up", "--local", "--detach", "--model", self.model, "--stages", str(self.stages), "--port", str(self.port)],
                       env=self.environment, check=True, stderr=subprocess.DEVNULL)

    def __exit__(self, *_):
        subprocess.run([PROGRAM, "down"], env=self.environment, stdout=subprocess.DEVNULL)
        self.folder.cleanup()


def prompt_ids(n_tokens, salt):
    """A prompt of exactly n_tokens ids, another one each time so that no prefix cache helps."""
    return [1000 + (i * 37 + salt * 101) % 20000 for i in range(n_tokens)]


def measure(server, salt):
    """{"start": s, "prefill": tok/s, "decode": tok/s}"""
    with server:
        result = {"start": server.first_token()}
        stream_times(server.port, {"prompt": prompt_ids(64, salt), "max_tokens": 16, "temperature": 0, "ignore_eos": True})  # warm
        times = stream_times(server.port, {"prompt": prompt_ids(512, salt), "max_tokens": 2, "temperature": 0, "ignore_eos": True})
        result["prefill"] = 512 / times[0]
        n_tokens = 192
        times = stream_times(server.port, {"prompt": prompt_ids(16, salt + 1), "max_tokens": n_tokens, "temperature": 0, "ignore_eos": True})
        result["decode"] = (n_tokens - 1) / (times[n_tokens - 1] - times[0]) if len(times) >= n_tokens else float("nan")
        return result


def cpu_name():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--llama", type=pathlib.Path, required=True, help="folder of llama.cpp's programs")
    parser.add_argument("--models", type=pathlib.Path, default=ROOT / "build/test-models")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()

    bandwidth = float(subprocess.run([ROOT / "build/release/bench/read_bandwidth"], capture_output=True, text=True, check=True).stdout)
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    print(f"{cpu_name()}, {os.cpu_count()} cores, read bandwidth {bandwidth:.1f} GB/s, commit {commit}")
    rows = []
    for model, bytes_per_token in MODELS.items():
        path = arguments.models / model
        if not path.exists():
            print(f"{model} is absent; `make models` fetches it", file=sys.stderr)
            continue
        samples = {}
        for round_number in range(arguments.rounds):
            for server in (Commissure(path, 1), Llama(arguments.llama, path), Commissure(path, 3)):
                for what, value in measure(server, round_number * 7).items():
                    samples.setdefault((server.name, what), []).append(value)
        median = {key: statistics.median(values) for key, values in samples.items()}
        print(f"\n{model}")
        print(f"{'':<16}{'decode tok/s':>14}{'ratio':>8}{'prefill tok/s':>15}{'ratio':>8}{'start s':>9}{'ratio':>8}{'bandwidth':>11}")
        for name in ("commissure", "commissure x3", "llama.cpp"):
            cells = [f"{name:<16}"]
            for what, width in (("decode", 14), ("prefill", 15), ("start", 9)):
                cells.append(f"{median[name, what]:>{width}.{3 if what == 'start' else 1}f}")
                cells.append(f"{median[name, what] / median['llama.cpp', what]:>8.2f}")
                rows.append([datetime.date.today(), commit, cpu_name(), os.cpu_count(), f"{bandwidth:.1f}", model, name, what,
                             f"{median[name, what]:.3f}", f"{min(samples[name, what]):.3f}", f"{max(samples[name, what]):.3f}"])
            cells.append(f"{100 * median[name, 'decode'] * bytes_per_token / 1e9 / bandwidth:>10.0f}%")
            print("".join(cells))
        print(f"three stages / one process, decode: {median['commissure x3', 'decode'] / median['commissure', 'decode']:.3f}")
    record = ROOT / f"bench/records/{datetime.date.today()}.csv"
    is_new = not record.exists()
    with record.open("a", newline="") as file:
        writer = csv.writer(file)
        if is_new:
            writer.writerow("date commit cpu cores read_gb_s model program what median min max".split())
        writer.writerows(rows)
    print(f"\nrecorded in {record.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
