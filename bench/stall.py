#!/usr/bin/env python3
"""What a long prompt costs the streams that run: the 99th percentile of the time between two tokens of 8 streams while a prompt of
4,000 tokens arrives, against the same without it, and how long the prompt then takes to its first token.

Each round starts the streams, listens to them for some seconds, sends the prompt and listens until its first token. A gap between two
tokens counts as "with" when it overlaps the prompt's time. `--max-slowdown` may name several bounds: each has a server of its own, and
every round asks all in turn. 0 is no bound but the rows of a step.

With `--newcomers N` the other way round: N prompts of 5 tokens arrive while one of `--prompt` tokens is computed and nobody else is there.
How long they take to their first token, in seconds and in steps, and the long prompt to its own, for each of `--max-num-partial-prefills`
(1 is first come, first served).

    bench/stall.py [--max-slowdown 2.5,0] [--streams 8] [--prompt 4000] [--stages 1] [--rounds 3] [--record] [--json]
    bench/stall.py --newcomers 4 [--prompt 7000] [--max-num-partial-prefills 1,4] ...
"""
import argparse
import http.client
import json
import os
import pathlib
import re
import statistics
import threading
import time
import urllib.request

from cases import prompt_ids
from recording import commit, cpu_name, record
from servers import ROOT, Commissure

ANSWER = 3000  # tokens a stream may give; it is closed before


class Stream:
    """One running answer, read by a thread of its own: when each of its tokens came."""

    def __init__(self, port, salt, n_prompt=16):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self.connection.request("POST", "/v1/completions", json.dumps(
            {"prompt": prompt_ids(n_prompt, salt), "max_tokens": ANSWER, "temperature": 0, "ignore_eos": True, "stream": True,
             "stream_options": {"continuous_usage_stats": True}}), {"Content-Type": "application/json"})
        self.lines, self.over = [], False
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        with self.connection.getresponse() as response:
            while not self.over and (line := response.readline()):
                self.lines.append((time.perf_counter(), line))

    def close(self):
        self.over = True
        self.thread.join()
        self.connection.close()

    def gaps(self):
        """(from, to) of every two tokens in a row; a token may lack an event of its own when it ends in half a character."""
        seen = [(at, json.loads(line[6:])["usage"]["completion_tokens"]) for at, line in self.lines if line.startswith(b"data: {")]
        return [(a, b) for (a, n_a), (b, n_b) in zip(seen, seen[1:]) if n_b == n_a + 1]


def p99(values):
    return statistics.quantiles(values, n=100, method="inclusive")[98]


def measure(server, streams, n_prompt, seconds, salt):
    """One round: p99 without and with the prompt in ms, the prompt's first token in s."""
    running = [Stream(server.port, salt + i) for i in range(streams)]
    try:
        while any(len(stream.lines) < 8 for stream in running):
            time.sleep(0.01)
        begin = time.perf_counter()
        time.sleep(seconds)
        sent = time.perf_counter()
        ttft = server.stream_times(prompt_ids(n_prompt, salt), 1)[0]
        alive = all(stream.thread.is_alive() for stream in running)
    finally:
        for stream in running:
            stream.close()
    assert alive, f"a stream ended before the prompt's first token: it needs more than {ANSWER} tokens"
    gaps = [gap for stream in running for gap in stream.gaps()]
    without = [b - a for a, b in gaps if a >= begin and b < sent]
    beside = [b - a for a, b in gaps if b >= sent and a <= sent + ttft]
    return {"without_ms": 1000 * p99(without), "with_ms": 1000 * p99(beside), "ratio": p99(beside) / p99(without), "ttft_s": ttft}


def n_steps(server):
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=60) as answer:
        return int(re.search(r"^commissure_iteration_tokens_count\S* (\d+)", answer.read().decode(), re.M)[1])


def measure_newcomers(server, newcomers, n_prompt, salt):
    """One round: the slowest newcomer's first token in s and in steps since it came, the long prompt's in s, and that alone."""
    alone = server.stream_times(prompt_ids(n_prompt, salt), 1)[0]
    steps_alone, times = n_steps(server), {}

    def ask(name, prompt):
        times[name] = server.stream_times(prompt, 1)[0], n_steps(server)

    threads = [threading.Thread(target=ask, args=("long", prompt_ids(n_prompt, salt + 1)))]
    threads[0].start()
    while n_steps(server) == steps_alone:
        time.sleep(0.01)
    before = n_steps(server)
    threads += [threading.Thread(target=ask, args=(i, prompt_ids(5, salt + 2 + i))) for i in range(newcomers)]
    for thread in threads[1:]:
        thread.start()
    for thread in threads:
        thread.join()
    long_s, _ = times.pop("long")
    return {"newcomer_s": max(s for s, _ in times.values()), "newcomer_steps": max(n for _, n in times.values()) - before,
            "long_s": long_s, "alone_s": alone}


def measure_all(bounds, options):
    """{bound: {measure: values}}; servers stay up, one is asked at a time."""
    flags = ["--max-model-len", str(max(8192, options.prompt + 64))]
    knob = "--max-num-partial-prefills" if options.newcomers else "--max-slowdown"
    servers = {bound: Commissure(options.model, options.stages, options=[*flags, knob, bound]) for bound in bounds}
    rounds, started = {bound: {} for bound in bounds}, []
    try:
        for server in servers.values():
            started.append(server.__enter__())
        for number in range(options.rounds):
            for bound, server in servers.items():
                if options.newcomers:
                    one = measure_newcomers(server, options.newcomers, options.prompt, 1000 * (number + 1))
                    for key, value in one.items():
                        rounds[bound].setdefault(key, []).append(value)
                    continue
                alone = server.stream_times(prompt_ids(options.prompt, 500 + number), 1)[0]
                one = measure(server, options.streams, options.prompt, options.seconds, 1000 * (number + 1))
                for key, value in {**one, "ttft_alone_s": alone}.items():
                    rounds[bound].setdefault(key, []).append(value)
    finally:
        for server in started:
            server.stop()
    return rounds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(ROOT / "build/test-models/SmolLM2-135M-Instruct.Q4_1.gguf"))
    parser.add_argument("--max-slowdown", default="2.5,0")
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--newcomers", type=int, default=0)
    parser.add_argument("--max-num-partial-prefills", default="1,4")
    parser.add_argument("--prompt", type=int, help="default: 4000, with --newcomers 7000")
    parser.add_argument("--stages", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3, help="how long the streams are listened to without the prompt")
    parser.add_argument("--record", action="store_true", help="append the medians to bench/records")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.prompt = options.prompt or (7000 if options.newcomers else 4000)
    bounds = options.max_num_partial_prefills if options.newcomers else options.max_slowdown
    rounds = measure_all(bounds.split(","), options)
    medians = {bound: {key: statistics.median(values) for key, values in one.items()} for bound, one in rounds.items()}
    model = pathlib.Path(options.model).name
    what = f"stall of {options.streams} streams by {options.prompt} tokens"
    knob = "max slowdown"
    if options.newcomers:
        what, knob = f"{options.newcomers} prompts of 5 tokens behind {options.prompt}", "partial prefills"
    if options.record:
        record([(model, f"commissure x{options.stages}, {knob} {bound}", f"{what}, {key}", values) for bound, one in rounds.items()
                for key, values in one.items()])
    if options.json:
        return print(json.dumps({"cpu": cpu_name(), "cores": os.cpu_count(), "commit": commit(), "model": model, "stages": options.stages,
                                 "what": what, "prompt": options.prompt, f"by_{knob.replace(' ', '_')}": medians}))
    print(f"{cpu_name()}, {os.cpu_count()} cores, commit {commit()}, {model}, {options.stages} stage(s); medians of {options.rounds} rounds")
    if options.newcomers:
        print(f"{what}\npartial prefills   newcomers' first token, s   in steps   the long prompt's, s   alone, s")
        for bound, one in medians.items():
            print(f"{bound:>16} {one['newcomer_s']:27.2f} {one['newcomer_steps']:10.0f} {one['long_s']:22.2f} {one['alone_s']:10.2f}")
        return
    print("max slowdown   p99 without, ms   p99 with, ms   ratio   first token of the prompt, s   alone, s")
    for bound, one in medians.items():
        print(f"{bound:>12} {one['without_ms']:17.1f} {one['with_ms']:14.1f} {one['ratio']:7.2f} {one['ttft_s']:30.2f} {one['ttft_alone_s']:10.2f}")


if __name__ == "__main__":
    main()
