#!/usr/bin/env python3
"""Commissure beside llama.cpp and vLLM through their servers: same file, machine, client and run, one after the other in turn.

Prints one row per case: our median, the share of the hardware's limit where there is a plain one, the rivals' medians and our ratio to
them, the goals and whether they are reached. Rivals that are absent are named. Each case is kept in build/bench/table.json once measured;
--resume takes from there what this commit has. Appends to bench/records/YYYY-MM-DD.csv; --plot draws bars. With --isa avx2 every program keeps to
AVX2 on a CPU that has more: Commissure by COMMISSURE_ISA, vLLM by avx2_vllm/, llama.cpp as built (bench/rivals.sh avx2).
"""
import argparse
import contextlib
import datetime
import fcntl
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

from cases import Model, cases_of, make_servers
from recording import commit, cpu_name, record
from servers import ROOT
from speed_chart import draw_bars
from table import print_rows, records_of, rows_of

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "commissure/rivals"

REST_S = 0.5  # threads of the server asked before may spin for some 200 ms after their last work

BUSY = 0.1  # share of the CPU in other hands from which on a case is marked


def gemma_kv(position):
    """18 layers of one 256-wide kv head in bf16; every sixth sees all positions, the others 512."""
    return 1024 * (3 * position + 15 * min(position, 512))


MODELS = {
    "gemma3-270m": dict(
        quantised="gemma-3-270m-q4_k_m.gguf", bf16="gemma-3-270m-bf16.gguf", folder="gemma3-270m-bf16", token_bytes=183.5e6, token_bytes_bf16=316.0e6,
        kv_read=gemma_kv, kv_position=18 * 1024, context=20000, golden="gemma3-270m-q4_k_m", three_stages={1: 0.97, 4: 0.97, 16: 0.97}),
    "smollm2-135m": dict(
        quantised="SmolLM2-135M-Instruct.Q4_1.gguf", bf16="smollm2-135m-bf16.gguf", folder="smollm2-135m-bf16", token_bytes=85.3e6, token_bytes_bf16=231.9e6,
        kv_read=lambda position: 30 * 2 * 192 * 2 * position, kv_position=30 * 2 * 192 * 2, context=8192, golden="smollm2-135m-q4_1",
        three_stages={1: 0.94, 4: 0.97, 16: 0.97}),
}


def load_model(name, folder):
    facts = dict(MODELS[name])
    facts["quantised"] = folder / facts["quantised"]
    for form in ("bf16", "folder"):
        path = CACHE / facts[form]
        facts[form] = path if path.exists() else None
    return Model(name, **facts)


class Servers:
    """The servers of one model: started when first asked for, stopped when no later case wants them."""

    def __init__(self, servers, say):
        self.servers, self.say, self.up = servers, say, {}

    def start(self, key):
        if key in self.servers and key not in self.up:
            self.say(f"starting {self.servers[key].name}")
            self.up[key] = self.servers[key].__enter__()
            self.up[key].first_token()
            self.up[key].pause()

    def prepare(self, cases):
        """For the first of `cases`; the others come later."""
        wanted = [[] if case.restarts else [*case.servers, *case.beside] for case in cases]
        for key in [key for key in self.up if key not in sum(wanted, [])]:
            self.up.pop(key).stop()
        for key in wanted[0] if cases else []:
            self.start(key)


@contextlib.contextmanager
def holding(paths):
    """Holds these lock files, where other work of the machine waits for them."""
    with contextlib.ExitStack() as stack:
        for path in paths:
            fcntl.flock(stack.enter_context(open(path, "a")), fcntl.LOCK_EX)
        yield


def cpu_times():
    """(seconds x cores not idle, all) since the machine started."""
    times = [int(word) for word in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(times) - times[3] - times[4], sum(times)


def rest():
    """Lets the server asked before come to rest; then the share of the CPU that something else uses."""
    time.sleep(REST_S)
    before = cpu_times()
    time.sleep(REST_S / 2)
    after = cpu_times()
    return (after[0] - before[0]) / max(1, after[1] - before[1])


def run_case(case, servers, rounds, say):
    """({server key: {measure: [values]}}, share of the CPU in other hands, [read bandwidth in GB/s]); the servers take turns, and the first of several
    rounds warms up. Where memory is the limit it is measured in each round: neighbours on a shared machine take their part of it."""
    samples, others, bandwidths = {}, [], []
    rounds = min(rounds, case.rounds or rounds)
    for number in range(rounds + (rounds > 1)):
        if case.limit:
            rest()
            bandwidths.append(read_bandwidth())
        for index, key in enumerate((*case.servers, *case.beside)):
            if key not in servers:
                continue
            say(f"round {number}/{rounds}: {case.key} {case.what}, {servers[key].name}")
            others.append(rest())
            servers[key].resume()
            value = case.measure(servers[key], 1000 * number + index)
            servers[key].pause()
            for measure, one in (value if isinstance(value, dict) else {"tok/s": value}).items():
                if number > 0 or rounds == 1:
                    samples.setdefault(key, {}).setdefault(measure, []).append(one)
    if others and statistics.mean(others) > BUSY:
        say(f"other programs used {100 * statistics.mean(others):.0f} % of the CPU during {case.key} {case.what}: its figures are not to be trusted")
    return samples, statistics.mean(others) if others else 0, bandwidths


def measure_model(model, arguments, kept, say):
    """Fills `kept` case by case."""
    pool = Servers(make_servers(model, arguments.llama, arguments.vllm), say)
    names = {"llama": "llama.cpp", "llama16": "llama.cpp", "llama_bf16": "llama.cpp", "llama_rpc": "llama.cpp RPC", "vllm": "vLLM",
             **{key: server.name for key, server in pool.servers.items()}}
    waiting = [case for case in cases_of(model)
               if (not arguments.cases or case.key in arguments.cases) and f"{model.name} {case.key} {case.what}" not in kept["cases"]]
    try:
        if any("vllm" in case.servers for case in waiting):
            pool.start("vllm")  # takes minutes, so before the lock
        with holding(arguments.lock):
            kept["bandwidth"] = kept["bandwidth"] or read_bandwidth()  # of the machine, once; cases that it bounds measure it anew
            while waiting:
                pool.prepare(waiting)
                case = waiting.pop(0)
                servers = make_servers(model, arguments.llama, arguments.vllm) if case.restarts else pool.up
                samples, others, bandwidths = run_case(case, servers, arguments.rounds, say)
                rows = rows_of(model, case, names, samples, bandwidths)
                kept["cases"][f"{model.name} {case.key} {case.what}"] = [{**row, "others": others} for row in rows]
                path = kept_path(arguments)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(kept))
    finally:
        pool.prepare([])


def read_bandwidth():
    """GB/s of all cores together."""
    return float(subprocess.run([ROOT / "build/release/bench/read_bandwidth"], capture_output=True, text=True, check=True).stdout)


def kept_path(arguments):
    return ROOT / f"build/bench/table{'-' + arguments.isa if arguments.isa else ''}.json"


def kept_results(arguments):
    """What an earlier call measured of this commit on this machine, if it is wanted, else nothing yet."""
    here = {"cpu": cpu_name(), "cores": os.cpu_count(), "commit": commit()}
    if arguments.resume and kept_path(arguments).exists():
        kept = json.loads(kept_path(arguments).read_text())
        if all(kept[key] == value for key, value in here.items()):
            return kept
    return {**here, "date": str(datetime.date.today()), "bandwidth": None, "cases": {}}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama", type=pathlib.Path, help="folder of llama.cpp's programs")
    parser.add_argument("--vllm", type=pathlib.Path, default=os.environ.get("VLLM_PYTHON"), help="the Python that has vLLM (VLLM_PYTHON)")
    parser.add_argument("--models", type=pathlib.Path, default=ROOT / "build/test-models")
    parser.add_argument("--model", choices=MODELS, action="append", help="only this one; may be repeated")
    parser.add_argument("--cases", type=lambda text: text.split(","), help="only these, e.g. P1,P3,prefix")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--isa", choices=["avx2"], help="no program uses more than this")
    parser.add_argument("--resume", action="store_true", help="measure only what this commit lacks in build/bench/table*.json")
    parser.add_argument("--lock", type=pathlib.Path, action="append", default=[], help="hold this lock file while a model is measured; may be repeated")
    parser.add_argument("--plot", type=pathlib.Path, help="draw the table into this SVG file")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    if arguments.isa:
        os.environ["COMMISSURE_ISA"] = arguments.isa
    started = time.monotonic()
    say = lambda text: print(f"[{time.monotonic() - started:5.0f} s] {text}", file=sys.stderr)  # noqa: E731
    for rival, there in (("llama.cpp (bench/rivals.sh builds it)", arguments.llama), ("vLLM (bench/vllm.sh installs it)", arguments.vllm)):
        if not there:
            say(f"absent: {rival}")
    kept = kept_results(arguments)
    before = set(kept["cases"])
    for name in arguments.model or MODELS:
        model = load_model(name, arguments.models)
        if model.quantised.exists():
            measure_model(model, arguments, kept, say)
        else:
            say(f"{model.quantised.name} is absent; `make models` fetches it")
    rows = [row for case in kept["cases"].values() for row in case]
    new = [row for key, case in kept["cases"].items() if key not in before for row in case]
    where = f"{kept['cpu']}, {kept['cores']} cores, read bandwidth {kept['bandwidth']:.1f} GB/s, commit {kept['commit']}, {kept['date']}"
    if new:
        say(f"recorded in {record(records_of(new), kept['bandwidth'])}")
    if arguments.plot:
        arguments.plot.write_text(draw_bars(rows, where))
    if arguments.json:
        return print(json.dumps({**kept, "cases": rows}))
    print(where)
    print_rows(rows)


if __name__ == "__main__":
    main()
