#!/usr/bin/env python3
"""What a lost stage costs: streams with long prompts run through three local stages, one stage is killed and started again, and every
stream goes on. Prints how long the streams stood still (the new process and its weights included), and what each stage computed
from the blow until every stream had two new tokens.

Each round kills the middle and then the last stage. COMMISSURE_PROGRAM names another build, to compare two.

    bench/recovery.py [--streams 8] [--prompt 1000] [--rounds 3] [--record] [--json]
"""
import argparse
import json
import os
import pathlib
import re
import signal
import statistics
import subprocess
import time
import urllib.request

from cases import prompt_ids
from recording import commit, cpu_name, record
from servers import PROGRAM, ROOT, Commissure
from stall import Stream


def stage_sums(server, name):
    """{stage: value} of one metric."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:
        text = answer.read().decode()
    found = re.findall(rf'^commissure_{name}{{[^}}]*stage="(.)"[^}}]*}} (\S+)$', text, re.MULTILINE)
    return {stage: float(value) for stage, value in found}


def revive(server):
    subprocess.run([PROGRAM, "up", "--local", "--detach", *server.command], env=server.environment, check=True, stderr=subprocess.DEVNULL)


def wait_for_tokens(streams, n):
    before = [len(stream.lines) for stream in streams]
    while any(len(stream.lines) < count + n for stream, count in zip(streams, before)):
        assert all(stream.thread.is_alive() for stream in streams), "a stream ended"
        time.sleep(0.002)


def blow(server, streams, stage):
    wait_for_tokens(streams, 4)
    rows, seconds = stage_sums(server, "stage_rows_total"), stage_sums(server, "stage_compute_seconds_sum")
    began = time.perf_counter()
    os.kill(server.status()["stages"][stage]["pid"], signal.SIGKILL)
    time.sleep(0.05)
    revive(server)
    wait_for_tokens(streams, 2)
    still = [max((b - a for a, b in stream.gaps() if b > began), default=0) for stream in streams]
    after_rows, after_seconds = stage_sums(server, "stage_rows_total"), stage_sums(server, "stage_compute_seconds_sum")
    one = {"still_s": max(still)}
    for name in rows:
        one[f"rows_{name}"] = after_rows[name] - rows[name]
        one[f"compute_{name}_s"] = after_seconds[name] - seconds[name]
    one["compute_s"] = sum(value for key, value in one.items() if key.startswith("compute_"))
    return one


def measure(options):
    """{killed stage: {measure: values}}"""
    rounds = {"b": {}, "c": {}}
    for number in range(options.rounds):
        with Commissure(options.model, 3, options=["--max-model-len", "8192"]) as server:
            streams = [Stream(server.port, 100 * number + i, options.prompt) for i in range(options.streams)]
            try:
                for stage, killed in ((1, "b"), (2, "c")):
                    for key, value in blow(server, streams, stage).items():
                        rounds[killed].setdefault(key, []).append(value)
            finally:
                for stream in streams:
                    stream.close()
    return rounds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(ROOT / "build/test-models/SmolLM2-135M-Instruct.Q4_1.gguf"))
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--prompt", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--label", default="commissure x3", help="what the record calls this build")
    parser.add_argument("--record", action="store_true", help="append the values to bench/records")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rounds = measure(options)
    model = pathlib.Path(options.model).name
    if options.record:
        record([(model, options.label, f"stage {killed} lost, {options.streams} streams of {options.prompt}, {key}", values)
                for killed, one in rounds.items() for key, values in one.items()])
    medians = {killed: {key: statistics.median(values) for key, values in one.items()} for killed, one in rounds.items()}
    if options.json:
        return print(json.dumps({"cpu": cpu_name(), "cores": os.cpu_count(), "commit": commit(), "model": model, "killed": medians}))
    print(f"{cpu_name()}, {os.cpu_count()} cores, {model}, {options.streams} streams with prompts of {options.prompt} tokens, commit {commit()}")
    for killed, one in medians.items():
        rows = ", ".join(f"{name[-1]} {value:.0f}" for name, value in one.items() if name.startswith("rows_"))
        print(f"stage {killed} killed: streams stood still {one['still_s']:.2f} s; {one['compute_s']:.2f} s of compute, rows: {rows}")


if __name__ == "__main__":
    main()
