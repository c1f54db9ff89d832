#!/usr/bin/env python3
"""Instructions of the hot kernels, counted by callgrind: a guard against slower code that does not time.

A kernel's count is the difference between programs that run it three times and once, halved. Valgrind shows programs a CPU without AVX-512, so the
counts are those of AVX2 on every machine; they depend on the compiler, which the record names. Without flags it prints each count beside the
recorded one and fails when a kernel takes more than 3 % more instructions; --record writes records/instructions.csv.
"""
import argparse
import csv
import pathlib
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).resolve().parents[1]
RECORD = ROOT / "bench/records/instructions.csv"
LIMIT = 1.03


def instructions(program, name, times):
    """All instructions of a process that runs the kernel so many times."""
    answer = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, name, str(times)], capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", answer.stderr)
    if answer.returncode != 0 or not found:
        raise SystemExit(f"{name}: {answer.stderr.strip()[-500:]}")
    return int(found[1])


def compiler():
    """As the build was configured: name and version."""
    for folder in sorted((ROOT / "build/release/CMakeFiles").glob("*/CMakeCXXCompiler.cmake")):
        values = dict(re.findall(r'set\((CMAKE_CXX_COMPILER_(?:ID|VERSION)) "([^"]*)"\)', folder.read_text()))
        return f"{values['CMAKE_CXX_COMPILER_ID']} {values['CMAKE_CXX_COMPILER_VERSION']}"
    return "unknown"


def recorded():
    """{kernel: (instructions, compiler)}"""
    if not RECORD.exists():
        return {}
    with RECORD.open() as file:
        return {row["kernel"]: (int(row["instructions"]), row["compiler"]) for row in csv.DictReader(file)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "build/release/bench/kernel_once")
    parser.add_argument("--filter", default="", help="only kernels whose name contains this")
    parser.add_argument("--record", action="store_true", help="write the counts instead of comparing them")
    arguments = parser.parse_args()
    names = [name for name in subprocess.run([arguments.program, "--list"], capture_output=True, text=True, check=True).stdout.split()
             if arguments.filter in name]
    runs = [(name, times) for name in names for times in (1, 3)]
    with ThreadPoolExecutor(2) as pool:
        counts = dict(zip(runs, pool.map(lambda run: instructions(arguments.program, *run), runs)))
    kernels = {name: (counts[name, 3] - counts[name, 1]) // 2 for name in names}
    before, worse = recorded(), []
    for name, count in kernels.items():
        old, old_compiler = before.get(name, (None, None))
        ratio = count / old if old else None
        comparable = old_compiler == compiler()
        print(f"{name:<28}{count:>12}  {f'x {ratio:.3f}' if ratio else 'new'}{'' if comparable or not old else f' (recorded with {old_compiler})'}")
        if ratio and comparable and ratio > LIMIT:
            worse.append(name)
    if arguments.record:
        merged = {**{name: value for name, value in before.items() if name not in kernels or arguments.filter}, **{n: (c, compiler()) for n, c in kernels.items()}}
        with RECORD.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["kernel", "instructions", "compiler"])
            writer.writerows([name, count, by] for name, (count, by) in sorted(merged.items()))
        return
    if worse:
        sys.exit(f"more instructions than recorded: {', '.join(worse)}; if that is meant, --record")


if __name__ == "__main__":
    main()
