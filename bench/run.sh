#!/usr/bin/env bash
# Commissure beside llama.cpp and, where it is installed, vLLM, in turn (A, B, A, B, ...); see bench/README.md.
# usage: bench/run.sh [--rounds N] [--model NAME] [--cases P1,P3] [--plot FILE.svg]
set -euo pipefail
cd "$(dirname "$0")/.."
[ -x build/release/bench/read_bandwidth ] || cmake --build --preset release --target read_bandwidth >&2
tools/link_test_models.sh
vllm=${VLLM_PYTHON:-${XDG_CACHE_HOME:-$HOME/.cache}/commissure/rivals/vllm/bin/python}
[ ! -x "$vllm" ] || export VLLM_PYTHON=$vllm
exec python3 bench/compare.py --llama "$(bench/rivals.sh)" "$@"
