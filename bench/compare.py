#!/usr/bin/env python3
"""Commissure beside llama.cpp and vLLM through their servers: same file, machine, client and run, one after the other in turn.

Prints one row per case: our median, the rivals', the ratios, and the share of the hardware's limit where there is a plain one.
Appends to bench/records/YYYY-MM-DD.csv and draws the ratios (--plot). Rivals that are absent are named and left out.
"""
import argparse
import datetime
import os
import pathlib
import statistics
import subprocess
import sys
import time

from cases import Model, cases_of, make_servers
from chart import draw_ratios
from recording import commit, cpu_name, record
from servers import ROOT, Commissure, Llama

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "commissure/rivals"

REST_S = 0.5  # threads of the server asked before may spin for some 200 ms after their last work


def gemma_kv(position):
    """18 layers of one 256-wide kv head in bf16; every sixth sees all positions, the others 512."""
    return 1024 * (3 * position + 15 * min(position, 512))


MODELS = {
    "gemma3-270m": ("gemma-3-270m-q4_k_m.gguf", "gemma-3-270m-bf16.gguf", "gemma3-270m-bf16", 246.4e6, 536.2e6, gemma_kv, 20000),
    "smollm2-135m": ("SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2-135m-bf16.gguf", "smollm2-135m-bf16", 95.9e6, 269.0e6,
                     lambda position: 30 * 2 * 192 * 2 * position, 8192),
}


def load_model(name, folder):
    quantised, bf16, safetensors, token_bytes, token_bytes_bf16, kv_bytes, context = MODELS[name]
    present = lambda path: path if path.exists() else None  # noqa: E731
    return Model(name, folder / quantised, present(CACHE / bf16), present(CACHE / safetensors), token_bytes, token_bytes_bf16, kv_bytes), context


def run_cases(cases, servers, rounds, say):
    """{(case index, server key): {measure: [values]}}; servers stay up, one is asked at a time."""
    samples = {}
    for number in range(rounds + 1):  # the first round warms up
        for index, case in enumerate(cases):
            for key in case.servers:
                if key not in servers:
                    continue
                say(f"round {number}/{rounds}: {case.what}, {servers[key].name}")
                time.sleep(REST_S)
                value = case.measure(servers[key], 7 * number + index)
                for what, one in (value if isinstance(value, dict) else {"tok/s": value}).items():
                    if number > 0:
                        samples.setdefault((index, key), {}).setdefault(what, []).append(one)
    return samples


def measure_start(model, llama, rounds):
    """{name: [seconds]} from the program's start to its first token, page cache warm."""
    samples = {}
    for number in range(rounds + 1):
        for server in [Commissure(model.quantised)] + ([Llama(llama, model.quantised)] if llama else []):
            with server:
                seconds = server.first_token()
            if number > 0:
                samples.setdefault(server.name, []).append(seconds)
    return samples


def table_rows(model, cases, servers, samples, bandwidth):
    """Dictionaries, one per case and measure, ready to print, record and draw."""
    rows = []
    for index, case in enumerate(cases):
        ours = samples.get((index, case.servers[0]))
        rivals = {key: samples[index, key] for key in case.servers[1:] if (index, key) in samples}
        for what in ours or {}:
            median = statistics.median(ours[what])
            row = {"model": model.name, "case": case.key, "what": case.what + ("" if what == "tok/s" else f", {what}"), "ours": median, "goal": case.goal,
                   "values": {servers[case.servers[0]].name: ours[what], **{servers[key].name: rivals[key][what] for key in rivals}}}
            row["ratios"] = {servers[key].name: median / statistics.median(rivals[key][what]) for key in rivals}
            if case.limit and what == "tok/s":
                row["share"] = median / case.limit(model, bandwidth * 1e9)
            rows.append(row)
    return rows


def print_rows(rows):
    print(f"{'':<5}{'':<38}{'ours':>10}   {'share of limit':>14}   ratio to")
    for row in rows:
        share = f"{100 * row['share']:.0f} %" if "share" in row else ""
        ratios = ", ".join(f"{name} {ratio:.2f}" for name, ratio in row["ratios"].items())
        print(f"{row['case']:<5}{row['what']:<38}{row['ours']:>10.1f}   {share:>14}   {ratios}{'   goal ' + row['goal'] if row['goal'] else ''}")


def samples_of(rows):
    return [(row["model"], name, f"{row['case']} {row['what']}", values) for row in rows for name, values in row["values"].items()]


def compare(name, arguments, bandwidth, say):
    model, context = load_model(name, arguments.models)
    if not model.quantised.exists():
        say(f"{model.quantised.name} is absent; `make models` fetches it")
        return []
    cases = [case for case in cases_of(model) if not arguments.cases or case.key in arguments.cases]
    if context < 16100:
        cases = [case for case in cases if "16000" not in case.what]
    wanted = {key for case in cases for key in case.servers}
    servers = {key: server for key, server in make_servers(model, arguments.llama, arguments.vllm, context).items() if key in wanted}
    started = []
    try:
        for server in servers.values():
            say(f"starting {server.name}")
            server.__enter__()
            started.append(server)
            server.first_token()
        rows = table_rows(model, cases, servers, run_cases(cases, servers, arguments.rounds, say), bandwidth)
        if not arguments.cases or "P8" in arguments.cases:
            rows += memory_rows(model, servers)
    finally:
        for server in started:
            server.stop()
    if not arguments.cases or "P7" in arguments.cases:
        seconds = measure_start(model, arguments.llama, arguments.rounds)
        ours = statistics.median(seconds["commissure"])
        ratios = {key: ours / statistics.median(values) for key, values in seconds.items() if key != "commissure"}
        rows.append({"model": name, "case": "P7", "what": "start to first token, ms", "ours": 1000 * ours, "goal": "<= 0.5", "ratios": ratios,
                     "values": {key: [1000 * v for v in values] for key, values in seconds.items()}})
    return rows


def memory_rows(model, servers):
    """Anonymous memory after the load, in MiB; the weights are mapped, the KV cache is in it."""
    values = {servers[key].name: [servers[key].private_bytes() / 2**20] for key in ("ours", "llama") if key in servers}
    if "commissure" not in values:
        return []
    ours = values["commissure"][0]
    return [{"model": model.name, "case": "P8", "what": "private memory with KV, MiB", "ours": ours, "goal": "",
             "ratios": {name: ours / v[0] for name, v in values.items() if name != "commissure"}, "values": values}]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama", type=pathlib.Path, help="folder of llama.cpp's programs")
    parser.add_argument("--vllm", type=pathlib.Path, default=os.environ.get("VLLM_PYTHON"), help="the Python that has vLLM (VLLM_PYTHON)")
    parser.add_argument("--models", type=pathlib.Path, default=ROOT / "build/test-models")
    parser.add_argument("--model", choices=MODELS, action="append", help="only this one; may be repeated")
    parser.add_argument("--cases", type=lambda text: text.split(","), help="only these, e.g. P1,P3")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--plot", type=pathlib.Path, help="draw the ratios into this SVG file")
    arguments = parser.parse_args()

    started = time.monotonic()
    say = lambda text: print(f"[{time.monotonic() - started:5.0f} s] {text}", file=sys.stderr)  # noqa: E731
    for rival, there in (("llama.cpp (bench/rivals.sh builds it)", arguments.llama), ("vLLM (bench/vllm.sh installs it)", arguments.vllm)):
        if not there:
            say(f"absent: {rival}")
    bandwidth = float(subprocess.run([ROOT / "build/release/bench/read_bandwidth"], capture_output=True, text=True, check=True).stdout)
    print(f"{cpu_name()}, {os.cpu_count()} cores, read bandwidth {bandwidth:.1f} GB/s, commit {commit()}")
    rows = []
    for name in arguments.model or MODELS:
        mine = compare(name, arguments, bandwidth, say)
        print(f"\n{name}")
        print_rows(mine)
        rows += mine
    if rows:
        print(f"\nrecorded in {record(samples_of(rows), bandwidth)}")
    if arguments.plot:
        arguments.plot.write_text(draw_ratios(rows, f"{cpu_name()}, {os.cpu_count()} cores, {datetime.date.today()}"))


if __name__ == "__main__":
    main()
