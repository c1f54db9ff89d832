#!/usr/bin/env bash
# Commissure beside llama.cpp and, where it is installed, vLLM, in turn (A, B, A, B, ...); see bench/README.md.
# usage: bench/run.sh [--rounds N] [--model NAME] [--cases P1,P3] [--isa avx2] [--resume] [--plot FILE.svg] [--json]
set -euo pipefail
cd "$(dirname "$0")/.."
case " $* " in *" --help "* | *" -h "*) exec python3 bench/compare.py --help ;; esac  # nothing is built for it
if [ ! -x build/release/bench/read_bandwidth ] || [ ! -x build/release/bin/commissure ]; then
  [ -e build/release/CMakeCache.txt ] || cmake --preset release >&2
  cmake --build --preset release --target commissure_program read_bandwidth >&2
fi
tools/link_test_models.sh
isa=$(sed -nE 's/.*--isa[ =]([a-z0-9]+).*/\1/p' <<<"$*")
llama=$(bench/rivals.sh ${isa:+"$isa"}) || llama=
vllm=${VLLM_PYTHON:-${XDG_CACHE_HOME:-$HOME/.cache}/commissure/rivals/vllm/bin/python}
[ ! -x "$vllm" ] || export VLLM_PYTHON=$vllm
exec python3 bench/compare.py ${llama:+--llama "$llama"} "$@"
