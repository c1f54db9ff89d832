#!/usr/bin/env bash
# Finds or builds llama.cpp for comparison; prints the folder of its programs on standard output. "avx2": built for AVX2 whatever the CPU has.
# usage: bench/rivals.sh [avx2]
# Looks at $LLAMA_CPP_BIN first; else builds the sources that the Python package llama-cpp-python carries (about 10 minutes,
# once, under ~/.cache/commissure/rivals; needs clang-19, since GCC 12 miscompiles its AMX set-up).
set -euo pipefail
models=$(cd "$(dirname "$0")/.." && pwd)/build/test-models
if [ -n "${LLAMA_CPP_BIN:-}" ]; then echo "$LLAMA_CPP_BIN"; exit 0; fi
folder=${XDG_CACHE_HOME:-$HOME/.cache}/commissure/rivals/llama.cpp
case ${1:-native} in
  native) build=$folder/build isa=(-DGGML_NATIVE=ON) ;;
  avx2) build=$folder/build-avx2 isa=(-DGGML_NATIVE=OFF -DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON) ;;
  *) echo "bench: llama.cpp is built for native or avx2, not $1" >&2; exit 1 ;;
esac
programs=(llama-bench llama-server llama-quantize ggml-rpc-server)
is_built() { for program in "${programs[@]}"; do [ -x "$build/bin/$program" ] || return 1; done; }
if ! is_built; then  # an interrupted build goes on
  command -v clang-19 >/dev/null || { echo "bench: install clang-19 to build llama.cpp, or set LLAMA_CPP_BIN" >&2; exit 1; }
  mkdir -p "$folder"
  if [ ! -e "$folder"/llama_cpp_python-*/vendor/llama.cpp/CMakeLists.txt ]; then
    # pip asks the package's build system for its name before it hands the sources out: a wheel of that system saves building it.
    python3 -m venv "$folder/fetch"
    "$folder/fetch/bin/python" -m pip install -q scikit-build-core >&2
    "$folder/fetch/bin/python" -m pip download -q --no-deps --no-binary :all: --no-build-isolation llama-cpp-python==0.3.36 -d "$folder" >&2
    tar -C "$folder" -xf "$folder"/llama_cpp_python-*.tar.gz
  fi
  cmake -G Ninja -S "$folder"/llama_cpp_python-*/vendor/llama.cpp -B "$build" -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_C_COMPILER=clang-19 -DCMAKE_CXX_COMPILER=clang++-19 "${isa[@]}" -DGGML_RPC=ON -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF \
    -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_BUILD_APP=OFF >&2
  cmake --build "$build" --target "${programs[@]}" ${JOBS:+-j "$JOBS"} >&2
fi
# The same weights in bf16, which both programs read.
for pair in gemma-3-270m-q4_k_m.gguf=gemma-3-270m-bf16.gguf SmolLM2-135M-Instruct.Q4_1.gguf=smollm2-135m-bf16.gguf; do
  from=$models/${pair%%=*} to=${folder%/*}/${pair#*=}
  [ -e "$to" ] || ! [ -e "$from" ] || "$build/bin/llama-quantize" --allow-requantize "$from" "$to" BF16 >/dev/null 2>&1
done
echo "$build/bin"
