#!/usr/bin/env python3
"""Registers and shared memory of the GPU kernels are what src/kernels/cuda/device/resources.txt records.

usage: cuda_resources_test.py FILE.resources...      (--write first: records them)
"""
import pathlib
import sys

RECORD = pathlib.Path(__file__).resolve().parents[2] / "src/kernels/cuda/device/resources.txt"
HEAD = "# arch kernel registers shared_bytes stack_bytes spill_bytes; written by tests/lint/cuda_resources_test.py --write\n"

arguments = sys.argv[1:]
writes = arguments[:1] == ["--write"]
lines = sorted(line for file in arguments[writes:] for line in pathlib.Path(file).read_text().splitlines())
assert lines, "no kernels were compiled"
if writes:
    RECORD.write_text(HEAD + "\n".join(lines) + "\n")
recorded = [line for line in RECORD.read_text().splitlines() if not line.startswith("#")]
changed = sorted(set(lines) ^ set(recorded))
assert not changed, "kernels take other registers or memory than recorded:\n" + "\n".join(changed[:40])
print(f"cuda resources: {len(lines)} kernels as recorded")
