#!/usr/bin/env python3
"""Decoding behind a long prompt with int8 keys and values against bf16, in turn, through decode_bench; prints medians and ratios.

usage: bench/kv_types.py MODEL.gguf [--positions 4000] [--rounds 5]
"""
import argparse
import pathlib
import re
import statistics
import subprocess

BENCH = pathlib.Path(__file__).resolve().parents[1] / "build/release/bench/decode_bench"


def measure(model, positions, kv_dtype):
    """(prefill tok/s, decode tok/s, private MB)"""
    command = [BENCH, "--model", model, "--prompt-tokens", str(positions), "--decode", "64", "--kv-dtype", kv_dtype]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    prefill, decode = (float(rate) for rate in re.findall(r"([\d.]+) tok/s", text))
    return prefill, decode, int(re.search(r"RssAnon:\s+(\d+) kB", text)[1]) / 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--positions", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    found = {"bf16": [], "int8": []}
    for _ in range(options.rounds):
        for kv_dtype, results in found.items():
            results.append(measure(options.model, options.positions, kv_dtype))
    for i, what in enumerate(("prefill tok/s", "decode tok/s", "private MB")):
        median, spread = {}, {}
        for kv_dtype, results in found.items():
            values = [result[i] for result in results]
            median[kv_dtype], spread[kv_dtype] = statistics.median(values), f"{min(values):.1f} to {max(values):.1f}"
        print(f"{what} at {options.positions} positions: bf16 {median['bf16']:.1f} ({spread['bf16']}), int8 {median['int8']:.1f} ({spread['int8']}), "
              f"int8 / bf16 {median['int8'] / median['bf16']:.2f}")


if __name__ == "__main__":
    main()
