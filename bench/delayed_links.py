#!/usr/bin/env python3
"""Three stages joined by slow links: what 1, 8 and 32 streams reach against what delay and measured stage times allow, and a long
prefill with and without delay; llama.cpp over RPC beside it, if its programs are given.

Every link is a relay on loopback that holds each byte for a delay, either way, and limits nothing else; what it really takes is
measured by an echo through it while the streams run. The bound is Little's law, which speaks of means in a steady state: a
step takes T = sum of the stages' compute times + 4 x delay (two links, there and back); of n streams, spread over s steps
in flight (the slots that the chain chose, at most n), at most n / max(T, s x slowest stage, s x sum of stages / cores) tokens leave per
second. The last term is there because the stages of this bench, one thread each, share a machine. Tokens are counted from when
every stream has some until the first is about to end, so the prompts' own time is no part of it.

llama.cpp keeps a third of the layers and has the rest on two RPC servers behind the same links, one thread each; it gives a quarter of
the tokens.

    bench/delayed_links.py [--delay-ms 5] [--model FILE] [--streams 1,8,32] [--prefill 4000] [--llama FOLDER] [--record] [--json]
"""
import argparse
import asyncio
import concurrent.futures
import contextlib
import http.client
import json
import multiprocessing
import os
import pathlib
import socket
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.request

from recording import record
from servers import PROGRAM, ROOT, free_port

N_STAGES, N_LINKS = 3, 2
RAMP = 8  # tokens a stream has given when all decode, or lacks when the first ends


async def carry(reader, writer, delay):
    """Each piece leaves `delay` after it came, whatever came before it."""
    queue = asyncio.Queue()

    async def leave():
        while True:
            due, piece = await queue.get()
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if not piece:
                return writer.close()
            writer.write(piece)

    leaving = asyncio.create_task(leave())
    with contextlib.suppress(OSError):
        while True:
            piece = await reader.read(1 << 20)
            queue.put_nowait((time.monotonic() + delay, piece))
            if not piece:
                break
    await leaving


def relay(links, delay):
    """Serves [(listen port, target port)] until it is ended."""

    async def serve():
        def connected(target):
            async def on_connection(reader, writer):
                try:
                    far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
                except OSError:  # the stage is not up yet
                    return writer.close()
                await asyncio.gather(carry(reader, far_writer, delay), carry(far_reader, writer, delay))

            return on_connection

        servers = [await asyncio.start_server(connected(target), "127.0.0.1", listen) for listen, target in links]
        await asyncio.gather(*(server.serve_forever() for server in servers))

    asyncio.run(serve())


def echo_forever(listener):
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while piece := connection.recv(64):
            connection.sendall(piece)


class DelayMeter:
    """Half a round trip through the relay at `port`, which leads to an echo, made again and again."""

    def __init__(self, port):
        self.connection = socket.create_connection(("127.0.0.1", port))
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


class Chain:
    def __init__(self, model, delay):
        self.folder = tempfile.TemporaryDirectory(prefix="commissure-links-")
        ports = [free_port() for _ in range(N_STAGES)]
        links = [(free_port(), ports[i + 1]) for i in range(N_LINKS)]
        self.port = ports[0]
        # Forked: it needs nothing of this process but the two functions above.
        echo = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=echo_forever, args=(echo,), daemon=True).start()
        links.append((free_port(), echo.getsockname()[1]))
        self.relay = multiprocessing.get_context("fork").Process(target=relay, args=(links, delay), daemon=True)
        self.relay.start()
        self.stages = []
        for i in reversed(range(N_STAGES)):
            following = ["--next", f"127.0.0.1:{links[i][0]}"] if i < N_LINKS else []
            log = open(f"{self.folder.name}/{i}.log", "w")
            self.stages.append(subprocess.Popen([PROGRAM, "stage", "--stage", "abc"[i], "--cuts", "10,20", "--model", model, "--threads", "1", "--host",
                                                 "127.0.0.1", "--port", str(ports[i]), "--max-num-seqs", "32", *following], stderr=log))
        deadline = time.monotonic() + 60
        while not answers_health(self.port):
            assert time.monotonic() < deadline, "the chain did not come up"
            time.sleep(0.05)
        self.echo_port = links[-1][0]

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
        for process in self.stages:
            process.terminate()
        for process in self.stages:
            process.wait(20)
        self.relay.terminate()
        self.relay.join()
        self.folder.cleanup()


class LlamaChain:
    """llama.cpp's server, which keeps a third of the layers, with two RPC servers behind links as the chain's."""

    def __init__(self, binaries, model, delay, n_layers=30):
        ports = [free_port() for _ in range(N_LINKS)]
        links = [(free_port(), port) for port in ports]
        self.port = free_port()
        self.relay = multiprocessing.get_context("fork").Process(target=relay, args=(links, delay), daemon=True)
        self.relay.start()
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.processes = [subprocess.Popen([binaries / "ggml-rpc-server", "-H", "127.0.0.1", "-p", str(port), "-t", "1"], **quiet) for port in ports]
        time.sleep(1)  # they say nothing when they listen, and the server asks just once
        self.processes.append(subprocess.Popen([binaries / "llama-server", "-m", model, "--port", str(self.port), "-t", "1", "-c", str(32 * 256), "-np", "32",
                                                "--no-webui", "--cache-ram", "0", "-ngl", str(n_layers * N_LINKS // N_STAGES + 1), "--rpc",
                                                ",".join(f"127.0.0.1:{port}" for port, _ in links)], **quiet))
        deadline = time.monotonic() + 120
        while not answers_health(self.port):
            assert time.monotonic() < deadline, "llama.cpp did not come up"
            time.sleep(0.2)

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
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(20)
        self.relay.terminate()
        self.relay.join()


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
    meter, counter = DelayMeter(chain.echo_port), Counter(chain, n_streams * RAMP, n_streams * (n_tokens - RAMP))
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
    report = measure(options, [int(n) for n in options.streams.split(",")])
    if options.record:
        record(records_of(report, pathlib.Path(options.model).name, options))
    if options.json:
        return print(json.dumps(report))
    print_report(report, options)


if __name__ == "__main__":
    main()
