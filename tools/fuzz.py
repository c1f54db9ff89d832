#!/usr/bin/env python3
"""Runs the fuzz entries of build/fuzz under libFuzzer, as many side by side as there are cores, and prints a line for each.

  tools/fuzz.py [--seconds 60 | --runs N] [--target NAME] [--jobs N]

What a run finds new is kept in build/fuzz/found/NAME, where the next one goes on; a crash leaves its input and its log in
build/fuzz/crashes. Exit status 1: an entry failed.
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "fuzz"
ENTRIES = ROOT / "tests" / "fuzz"
SEEDS = BUILD / "tests" / "fuzz" / "corpus"  # those that make_corpus wrote
SYMBOLIZER = shutil.which("llvm-symbolizer-19") or shutil.which("llvm-symbolizer") or ""
ENVIRONMENT = os.environ | {"ASAN_OPTIONS": "quarantine_size_mb=32", "UBSAN_OPTIONS": "print_stacktrace=1", "ASAN_SYMBOLIZER_PATH": SYMBOLIZER}
READS_JSON = {"adapter", "answers", "calls", "config", "files", "grammar", "request", "safetensors", "tokenizer"}
# No parser needs more for inputs of this size; one that allocates what a number in its input says is found by the limit.
LIMITS = ["-max_len=4096", "-malloc_limit_mb=64", "-rss_limit_mb=1536", "-timeout=20", "-print_final_stats=1"]


def dictionary(target):
    """The words of the entry and those of JSON in one file, as libFuzzer takes one alone; None without any."""
    names = (["json"] if target in READS_JSON else []) + [target]
    files = [path for path in (ENTRIES / "dictionaries" / f"{name}.dict" for name in names) if path.exists()]
    if not files:
        return None
    joined = BUILD / "dictionaries" / f"{target}.dict"
    joined.parent.mkdir(exist_ok=True)
    joined.write_text("".join(path.read_text() for path in files))
    return joined


def command(target, options):
    found = BUILD / "found" / target
    found.mkdir(parents=True, exist_ok=True)
    folders = [found] + [path for path in (ENTRIES / "corpus" / target, SEEDS / target) if path.is_dir()]
    words = dictionary(target)
    budget = f"-runs={options.runs}" if options.runs else f"-max_total_time={options.seconds}"
    return [BUILD / "tests" / "fuzz" / f"{target}_fuzz", budget, *LIMITS, f"-artifact_prefix={BUILD}/crashes/{target}-",
            *([f"-dict={words}"] if words else []), *folders]


def number(pattern, text):
    found = re.findall(pattern, text)
    return int(found[-1]) if found else 0


def run(target, options):
    """Prints the entry's line and says whether it held."""
    log = BUILD / "crashes" / f"{target}.log"
    with open(log, "w") as output:
        status = subprocess.run(command(target, options), stdout=output, stderr=subprocess.STDOUT, env=ENVIRONMENT, check=False).returncode
    text = log.read_text(errors="replace")
    runs = number(r"number_of_executed_units: (\d+)", text) or number(r"(?m)^#(\d+)\t", text)
    speed = number(r"average_exec_per_sec:\s+(\d+)", text)
    coverage = number(r"cov: (\d+)", text)
    line = f"{target:<12} {runs:>12,} runs {speed:>9,}/s   coverage {coverage:>6}"
    if status == 0:
        print(f"{line}   held", flush=True)
        log.unlink()
        return True
    artifact = re.findall(r"Test unit written to (\S+)", text)
    print(f"{line}   FAILED: {artifact[-1] if artifact else 'no input'} (log: {log})", flush=True)
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="for each entry")
    parser.add_argument("--runs", type=int, default=0, help="for each entry, in place of seconds")
    parser.add_argument("--target", default="", help="one entry alone")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    targets = sorted(path.name.removesuffix("_fuzz.cc") for path in ENTRIES.glob("*_fuzz.cc"))
    if options.target and options.target not in targets:
        sys.exit(f"no entry is called {options.target}; there are: {', '.join(targets)}")
    (BUILD / "crashes").mkdir(exist_ok=True)
    subprocess.run([BUILD / "tests" / "fuzz" / "make_corpus", SEEDS], check=True)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        held = list(pool.map(lambda target: run(target, options), [options.target] if options.target else targets))
    sys.exit(0 if all(held) else 1)


if __name__ == "__main__":
    main()
