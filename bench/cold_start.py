#!/usr/bin/env python3
"""From exec to ready: a stage that reads its weights from Cloud Storage, behind a line as fast as wanted.

fake-gcs-server on loopback stands behind a throttle that lets all connections together have `--mb-s`, and holds every request back by `--latency-ms`. One process serves
the whole model, started `--rounds` times; it is ready when /health says so. Its time is compared with

    1.2 x (its own bytes / the throughput of the source) + 0.2 s

where the throughput is what curl gets through the same throttle with the same parts, 8 at a time.

    bench/cold_start.py [--model GGUF] [--mb-s 100] [--latency-ms 10] [--rounds 3] [--json] [--record]
"""
import argparse
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


def start_once(host, port):
    """Seconds from exec until /health is good, and the bytes of the stage's weights."""
    environment = {**os.environ, "STORAGE_EMULATOR_HOST": host, "PORT": str(port), "MODEL_DIR": "gs://bench/object.gguf"}
    start = time.monotonic()
    process = subprocess.Popen([PROGRAM, "stage"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            status, body = health(port)
            if status == 200 and body["stages"][0]["state"] == "ready":
                return time.monotonic() - start, body["stages"][0]["weight_bytes"], body["stages"][0]["source_bytes_read"]
            assert process.poll() is None, "the stage ended"
            time.sleep(0.005)
    finally:
        process.terminate()
        process.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default=str(SMOL))
    parser.add_argument("--mb-s", type=float, default=100)
    parser.add_argument("--latency-ms", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true", help="append to bench/records")
    wish = parser.parse_args()
    model = pathlib.Path(wish.model).read_bytes()
    with emulator() as host:
        make_bucket(host, "bench")
        upload(host, "bench", "object.gguf", model)
        line = Throttle(host, wish.mb_s * 1e6, wish.latency_ms / 1e3)
        rate = statistics.median(curl_rate(line.host, len(model), "object.gguf") for _ in range(wish.rounds))
        times = [start_once(line.host, free_port()) for _ in range(wish.rounds)]
    seconds, own, read = statistics.median(time[0] for time in times), times[0][1], times[0][2]
    bound = 1.2 * own / 1e6 / rate + 0.2
    result = {"model": pathlib.Path(wish.model).name, "mb_s": wish.mb_s, "latency_ms": wish.latency_ms, "curl_mb_s": round(rate, 1), "own_bytes": own, "read_bytes": read,
              "seconds": [round(time[0], 3) for time in times], "median_s": round(seconds, 3), "bound_s": round(bound, 3), "ratio": round(seconds / bound, 3)}
    if wish.record:
        what = f"exec to ready from gs://, {wish.mb_s:g} MB/s, {wish.latency_ms:g} ms a request, s"
        print(record([(result["model"], "commissure", what, result["seconds"]), (result["model"], "bound", what, [bound])]))
    if wish.json:
        print(json.dumps(result))
    else:
        print(f"{result['model']}: {own / 1e6:.0f} MB over {rate:.1f} MB/s (curl), {wish.latency_ms:g} ms a request: ready after {seconds:.2f} s, bound {bound:.2f} s: "
              f"{'kept' if seconds <= bound else 'NOT kept'}")
    return 0 if seconds <= bound else 1


if __name__ == "__main__":
    sys.exit(main())
