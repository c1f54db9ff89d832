#!/usr/bin/env bash
# Commissure beside llama.cpp on the same files, in turn (A, B, A, B, ...); see bench/README.md.
# usage: bench/run.sh [--rounds N] [--models DIR]
set -euo pipefail
cd "$(dirname "$0")/.."
[ -x build/release/bench/read_bandwidth ] || cmake --build --preset release --target read_bandwidth >&2
exec python3 bench/compare.py --llama "$(bench/rivals.sh)" "$@"
