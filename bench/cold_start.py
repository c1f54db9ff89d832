#!/usr/bin/env python3
"""From exec to ready: stages that read their weights from Cloud Storage, each behind a line as fast as wanted.

fake-gcs-server on loopback stands behind a throttle for each stage that lets all its connections together have `--mb-s`, and holds every request back by `--latency-ms`.
`--stages` processes, cut where `up` would cut, are started at once, as a wake from zero starts them, `--rounds` times; the chain is ready when stage A's /health says that all
stages are. The time is compared with that of the stage that has most to read,

    1.2 x (its own bytes / the throughput of the source) + 0.2 s

where the throughput is what curl gets through the same throttles, all at once, with the same parts, 8 at a time. The bytes that stages read, headers and vocabulary included, are shown beside their own; tests judge them.

    bench/cold_start.py [--model GGUF] [--stages 1] [--mb-s 100] [--latency-ms 10] [--rounds 3] [--json] [--record]
"""
import argparse
import concurrent.futures
import contextlib
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests/e2e"), str(ROOT / "tests/cloud"), str(ROOT / "bench")]
from harness import PROGRAM, SMOL, free_port  # noqa: E402
from recording import record  # noqa: E402
from storage_emulator import emulator, make_bucket, upload  # noqa: E402
from storage_ranges import curl_rate  # noqa: E402

PIECE = 64 << 10


class Throttle:
    """A line to `host`: so many bytes a second towards the client, all connections together; each request comes late."""

    def __init__(self, host, bytes_per_second, latency):
        self.target = host.split(":")
        self.rate, self.latency = bytes_per_second, latency
        self.lock, self.free_at = threading.Lock(), 0.0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.host = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection((self.target[0], int(self.target[1])))
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for source, sink, wait in ((client, server, self.delay), (server, client, self.take)):
                threading.Thread(target=self.pump, args=(source, sink, wait), daemon=True).start()

    def pump(self, source, sink, wait):
        with contextlib.suppress(OSError):
            while piece := source.recv(PIECE):
                wait(len(piece))
                sink.sendall(piece)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def delay(self, _):
        time.sleep(self.latency)

    def take(self, n_bytes):
        """Waits until the line has carried what was before, and these."""
        with self.lock:
            self.free_at = max(self.free_at, time.monotonic()) + n_bytes / self.rate
            until = self.free_at
        time.sleep(max(0.0, until - time.monotonic()))


def health(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return answer.status, json.load(answer)
    except (urllib.error.URLError, ConnectionError):
        return 0, None


def inspect(model, n_stages):
    """What the program knows of a model that is cut into so many stages."""
    done = subprocess.run([PROGRAM, "inspect", model, "--stages", str(n_stages), "--json"], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def start_once(lines, cuts):
    """Seconds from exec until all stages are ready, and what stage A's /health says of each then."""
    ports = [free_port() for _ in lines]
    start = time.monotonic()
    processes = []
    for index, line in enumerate(lines):
        environment = {**os.environ, "STORAGE_EMULATOR_HOST": line.host, "PORT": str(ports[index]), "MODEL_DIR": "gs://bench/object.gguf", "STAGE": "abcdefghij"[index],
                       "CUTS": ",".join(map(str, cuts))}
        if index + 1 < len(lines):
            environment["NEXT_ENDPOINT"] = f"127.0.0.1:{ports[index + 1]}"
        processes.append(subprocess.Popen([PROGRAM, "stage"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    try:
        while True:
            status, body = health(ports[0])
            if status == 200 and all(stage["state"] == "ready" for stage in body["stages"]):
                return time.monotonic() - start, body["stages"]
            assert all(process.poll() is None for process in processes), "a stage ended"
            time.sleep(0.005)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def curl_rates(lines, n_bytes):
    """MB/s of each line while all carry the object."""
    with concurrent.futures.ThreadPoolExecutor(len(lines)) as pool:
        return list(pool.map(lambda line: curl_rate(line.host, n_bytes, "object.gguf"), lines))


def measure(wish):
    model = pathlib.Path(wish.model)
    known = inspect(model, wish.stages)
    cuts = [stage["layers"][0] for stage in known["stages"][1:]]
    with emulator() as host:
        make_bucket(host, "bench")
        upload(host, "bench", "object.gguf", model.read_bytes())
        lines = [Throttle(host, wish.mb_s * 1e6, wish.latency_ms / 1e3) for _ in range(wish.stages)]
        rate = statistics.median(rate for _ in range(wish.rounds) for rate in curl_rates(lines, model.stat().st_size))
        starts = [start_once(lines, cuts) for _ in range(wish.rounds)]
    stages = starts[0][1]
    own = max(stage["weight_bytes"] for stage in stages)
    bound = 1.2 * own / 1e6 / rate + 0.2
    seconds = statistics.median(start[0] for start in starts)
    return {"model": model.name, "stages": wish.stages, "mb_s": wish.mb_s, "latency_ms": wish.latency_ms, "curl_mb_s": round(rate, 1), "own_bytes": own,
            "read_bytes": [stage["source_bytes_read"] for stage in stages], "weight_bytes": [stage["weight_bytes"] for stage in stages], "seconds": [round(start[0], 3) for start in starts], "median_s": round(seconds, 3),
            "bound_s": round(bound, 3), "ratio": round(seconds / bound, 3)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default=str(SMOL))
    parser.add_argument("--stages", type=int, default=1)
    parser.add_argument("--mb-s", type=float, default=100)
    parser.add_argument("--latency-ms", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true", help="append to bench/records")
    wish = parser.parse_args()
    result = measure(wish)
    kept = result["median_s"] <= result["bound_s"]
    if wish.record:
        what = f"exec to ready from gs://, {wish.stages} stage{'s' * (wish.stages > 1)}, {wish.mb_s:g} MB/s, {wish.latency_ms:g} ms a request, s"
        print(record([(result["model"], "commissure", what, result["seconds"]), (result["model"], "bound", what, [result["bound_s"]])]))
    if wish.json:
        print(json.dumps(result))
    else:
        print(f"{result['model']}, {wish.stages} stage{'s' * (wish.stages > 1)}: at most {result['own_bytes'] / 1e6:.0f} MB a stage over {result['curl_mb_s']:.1f} MB/s (curl), "
              f"{wish.latency_ms:g} ms a request: ready after {result['median_s']:.2f} s, bound {result['bound_s']:.2f} s: {'kept' if kept else 'NOT kept'}; "
              f"read {sum(result['read_bytes']) / 1e6:.1f} MB for {sum(result['weight_bytes']) / 1e6:.1f} MB of weights")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
