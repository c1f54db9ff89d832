#!/usr/bin/env python3
"""Three stages joined by slow links: what 1, 8 and 32 streams reach against what delay and measured stage times allow, and a long
prefill with and without delay; llama.cpp over RPC beside it, if its programs are given.

Each stage has a network namespace of its own; the links between them (delayed_network.py) hold each IP packet for a delay, either way, and limit
nothing else; what they really take is measured by an echo through one of them while the streams run. The bound is Little's law, which speaks of means in a steady state: a
step takes T = sum of the stages' compute times + 4 x delay (two links, there and back); of n streams, spread over s steps
in flight (the slots that the chain chose, at most n), at most n / max(T, s x slowest stage, s x sum of stages / cores) tokens leave per
second. The last term is there because the stages of this bench, one thread each, share a machine. Tokens are counted from when
every stream has some until the first is about to end, so the prompts' own time is no part of it.

llama.cpp keeps a third of the layers and has the rest on two RPC servers behind links as slow, one thread each; it gives a quarter of
the tokens.

    bench/delayed_links.py [--delay-ms 5] [--model FILE] [--streams 1,8,32] [--prefill 4000] [--llama FOLDER] [--record] [--json]
"""
import argparse
import concurrent.futures
import http.client
import json
import os
import pathlib
import socket
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.request

from delayed_network import DelayedNetwork, enter
from recording import record
from servers import PROGRAM, ROOT

HOSTS = "abc"  # a stage each, and named like it
N_STAGES, N_LINKS = 3, 2
PORT = 7070  # the same on each host
RAMP = 8  # tokens a stream has given when all decode, or lacks when the first ends


class DelayMeter:
    """Half a round trip to an echo at `address`, made again and again."""

    def __init__(self, address):
        self.connection = socket.create_connection(address)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.trips, self.over = [], threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.over.is_set():
            start = time.monotonic()
            self.connection.sendall(b"x")
            self.connection.recv(1)
            self.trips.append((start, time.monotonic() - start))

    def stop(self, since, until):
        """The mean of those begun in between."""
        self.over.set()
        self.thread.join()
        self.connection.close()
        return statistics.mean(trip for start, trip in self.trips if since <= start < until) / 2


def answers_health(port):
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False


def wait_for_health(port, what):
    deadline = time.monotonic() + 120
    while not answers_health(port):
        assert time.monotonic() < deadline, f"{what} did not come up"
        time.sleep(0.05)


class Chain:
    def __init__(self, model, delay):
        self.folder = tempfile.TemporaryDirectory(prefix="commissure-links-")
        self.network = DelayedNetwork(HOSTS, delay)
        self.port, self.echo = PORT, (self.network.address("b", seen_from="a"), PORT + 1)
        self.processes = [self.network.start_echo("b", PORT + 1)]
        for host, following in zip(reversed(HOSTS), [None, "c", "b"]):
            listen = ["--host", "127.0.0.1" if host == "a" else "0.0.0.0", "--port", str(PORT), "--allow-plaintext"]
            link = ["--next", f"{self.network.address(following, seen_from=host)}:{PORT}"] if following else []
            log = open(f"{self.folder.name}/{host}.log", "w")
            self.processes.append(self.network.popen(host, [PROGRAM, "stage", "--stage", host, "--cuts", "10,20", "--model", model, "--threads", "1",
                                                            "--max-num-seqs", "32", *listen, *link], stderr=log))
        wait_for_health(self.port, "the chain")

    def ask(self, prompt, max_tokens):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request("POST", "/v1/completions", json.dumps({"prompt": prompt, "max_tokens": max_tokens, "temperature": 0, "ignore_eos": True,
                                                                  "trace": True}), {"Content-Type": "application/json"})
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, body
        return json.loads(body)["choices"][0]["trace"]["steps"]

    def metric(self, name):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=60) as page:
            return next(float(line.split()[-1]) for line in page.read().decode().splitlines() if line.startswith(f"commissure_{name}{{"))

    def close(self):
        end(self.processes)
        self.network.close()
        self.folder.cleanup()


class LlamaChain:
    """llama.cpp's server, which keeps a third of the layers, with two RPC servers behind links as the chain's."""

    def __init__(self, binaries, model, delay, n_layers=30):
        self.network, self.port = DelayedNetwork(HOSTS, delay), PORT
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        rpc = ["-H", "0.0.0.0", "-p", str(PORT), "-t", "1"]
        self.processes = [self.network.popen(host, [binaries / "ggml-rpc-server", *rpc], **quiet) for host in HOSTS[1:]]
        time.sleep(1)  # they say nothing when they listen, and the server asks just once
        servers = ",".join(f"{self.network.address(host, seen_from='a')}:{PORT}" for host in HOSTS[1:])
        self.processes.append(subprocess.Popen([binaries / "llama-server", "-m", model, "--port", str(PORT), "-t", "1", "-c", str(32 * 256), "-np", "32",
                                                "--no-webui", "--cache-ram", "0", "-ngl", str(n_layers * 2 // 3 + 1), "--rpc", servers], **quiet))
        wait_for_health(PORT, "llama.cpp")

    def rate(self, n_streams, n_tokens):
        """Tokens per second of n streams together, without their prompts."""

        def ask(index):
            body = {"prompt": prompt_of(index, 8), "n_predict": n_tokens, "temperature": 0, "ignore_eos": True, "cache_prompt": False}
            request = urllib.request.Request(f"http://127.0.0.1:{self.port}/completion", json.dumps(body).encode(), {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["timings"]["predicted_per_second"]

        with concurrent.futures.ThreadPoolExecutor(n_streams) as pool:
            return sum(pool.map(ask, range(n_streams)))

    def close(self):
        end(self.processes)
        self.network.close()


def end(processes):
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(20)


def prompt_of(index, n_tokens):
    return [1000 + (index * 7919 + i * 31) % 40000 for i in range(n_tokens)]


class Counter:
    """Notes when the chain has given `first` and `last` tokens from now on: [(time, tokens)]."""

    def __init__(self, chain, first, last):
        self.chain, self.seen = chain, []
        before = chain.metric("generation_tokens_total")
        self.thread = threading.Thread(target=self.run, args=([before + first, before + last],))
        self.thread.start()

    def run(self, marks):
        for mark in marks:
            while (tokens := self.chain.metric("generation_tokens_total")) < mark:
                time.sleep(0.02)
            self.seen.append((time.monotonic(), tokens))

    def stop(self):
        self.thread.join()
        return self.seen


def decode(chain, n_streams, n_tokens):
    """Tokens per second of n streams, the means of the stages' times, and the bound."""
    meter, counter = DelayMeter(chain.echo), Counter(chain, n_streams * RAMP, n_streams * (n_tokens - RAMP))
    with concurrent.futures.ThreadPoolExecutor(n_streams) as pool:
        traces = list(pool.map(lambda i: chain.ask(prompt_of(i, 8), n_tokens), range(n_streams)))
    (start, n_before), (end, n_after) = counter.stop()
    rate, delay = (n_after - n_before) / (end - start), meter.stop(start, end)
    steps = [step for trace in traces for step in trace[RAMP:-RAMP] if step["rows"] == 1]
    stages = [statistics.mean(step["stages"][i]["compute_us"] for step in steps) / 1e6 for i in range(N_STAGES)]
    slots = min(n_streams, int(chain.metric("decode_slots")))
    cycle = max(sum(stages) + 2 * N_LINKS * delay, slots * max(stages), slots * sum(stages) / os.cpu_count())
    return {"streams": n_streams, "tok_s": rate, "delay_ms": 1000 * delay, "slots": slots, "stage_ms": [round(1000 * t, 2) for t in stages],
            "bound_tok_s": n_streams / cycle, "of_bound": rate * cycle / n_streams}


def prefill(chain, n_tokens):
    seconds = []
    for index in range(2):
        start = time.monotonic()
        chain.ask(prompt_of(100 + index, n_tokens), 1)
        seconds.append(time.monotonic() - start)
    return min(seconds)


def measure(options, streams):
    report = {"delay_ms": options.delay_ms, "decode": [], "prefill_s": {}}
    for delay in (0.0, options.delay_ms / 1000):
        chain = Chain(options.model, delay)
        try:
            chain.ask(prompt_of(0, 64), 4)
            report["prefill_s"][f"{1000 * delay:g} ms"] = prefill(chain, options.prefill)
            if delay > 0:
                report["decode"] = [decode(chain, n, options.tokens) for n in streams]
        finally:
            chain.close()
    without, with_delay = report["prefill_s"].values()
    report["prefill_of_no_delay"] = without / with_delay
    if options.llama:
        llama = LlamaChain(options.llama, options.model, options.delay_ms / 1000)
        try:
            for row in report["decode"]:
                row["llama_tok_s"] = llama.rate(row["streams"], options.tokens // 4)
        finally:
            llama.close()
    return report


def records_of(report, model, options):
    what = f"links of {options.delay_ms:g} ms"
    for row in report["decode"]:
        for key in ("tok_s", "bound_tok_s", "of_bound"):
            yield model, "commissure x3", f"{what}, {row['streams']} streams, {key}", [row[key]]
        if "llama_tok_s" in row:
            yield model, "llama.cpp RPC", f"{what}, {row['streams']} streams, tok_s", [row["llama_tok_s"]]
    yield model, "commissure x3", f"{what}, prefill of {options.prefill} tokens, of no delay", [report["prefill_of_no_delay"]]


def print_report(report, options):
    print(f"{N_STAGES} stages, {N_LINKS} links of {options.delay_ms:g} ms each way, one thread a stage, {os.cpu_count()} cores")
    print("streams   tok/s   bound   of it   link, ms   slots   stages, ms" + 15 * " " + "llama.cpp RPC, tok/s")
    for row in report["decode"]:
        llama = f"{row['llama_tok_s']:11.1f}" if "llama_tok_s" in row else "     absent"
        print(f"{row['streams']:7d} {row['tok_s']:7.1f} {row['bound_tok_s']:7.1f} {100 * row['of_bound']:6.0f} % {row['delay_ms']:10.2f} "
              f"{row['slots']:7d}   {str(row['stage_ms']):<20} {llama}")
    without, with_delay = report["prefill_s"].values()
    print(f"prefill of {options.prefill} tokens: {without:.2f} s without delay, {with_delay:.2f} s with it: {100 * without / with_delay:.0f} %")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default=str(ROOT / "build/test-models/SmolLM2-135M-Instruct.Q4_1.gguf"))
    parser.add_argument("--delay-ms", type=float, default=5)
    parser.add_argument("--streams", default="1,8,32")
    parser.add_argument("--tokens", type=int, default=192)
    parser.add_argument("--prefill", type=int, default=4000)
    parser.add_argument("--llama", type=pathlib.Path, default=os.environ.get("LLAMA_CPP_BIN"), help="folder of llama.cpp's programs")
    parser.add_argument("--record", action="store_true", help="append to bench/records")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    enter()
    report = measure(options, [int(n) for n in options.streams.split(",")])
    if options.record:
        record(records_of(report, pathlib.Path(options.model).name, options))
    if options.json:
        return print(json.dumps(report))
    print_report(report, options)


if __name__ == "__main__":
    main()
