#!/usr/bin/env python3
"""What adapters cost: tokens a second of many streams spread over random LoRA adapters, beside those of the base model.

    bench/adapters.py [--adapters 100] [--rank 16] [--streams 64] [--tokens 64] [--stages 3] [--rounds 3] [--json]

Every adapter is asked for once before the first round, and how long that takes is told. Rounds ask both kinds in turn."""
import argparse
import concurrent.futures
import json
import pathlib
import statistics
import sys
import tempfile
import time
import urllib.request

from cases import prompt_ids
from servers import ROOT, Commissure

sys.path.append(str(ROOT / "tests/support"))
from random_adapter import write_adapter  # noqa: E402

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model", default=str(ROOT / "build/test-models/SmolLM2-135M-Instruct.Q4_1.gguf"))
for name, value in (("adapters", 100), ("rank", 16), ("streams", 64), ("tokens", 64), ("stages", 3), ("rounds", 3)):
    parser.add_argument(f"--{name}", type=int, default=value)
parser.add_argument("--json", action="store_true")
arguments = parser.parse_args()


def ask(port, model, salt, n_tokens):
    body = {"model": model, "prompt": prompt_ids(32, salt), "max_tokens": n_tokens, "temperature": 0, "ignore_eos": True}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as answer:
        return json.load(answer)["usage"]["completion_tokens"]


def together(port, models, n_tokens):
    """Tokens a second of one stream for each name."""
    begin = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(len(models)) as pool:
        total = sum(pool.map(lambda job: ask(port, job[1], job[0], n_tokens), enumerate(models)))
    return total / (time.perf_counter() - begin)


with tempfile.TemporaryDirectory() as folder:
    names = [f"adapter-{i}" for i in range(arguments.adapters)]
    for seed, name in enumerate(names):
        write_adapter(pathlib.Path(folder) / name, seed, arguments.rank)
    server = Commissure(arguments.model, arguments.stages,
                        options=["--adapter-dir", folder, "--adapter-bytes", "8GiB", "--no-prefix-caching", "--served-model-name", "base"])
    server.start()
    try:
        begin = time.perf_counter()
        for first in range(0, len(names), arguments.streams):
            together(server.port, names[first : first + arguments.streams], 1)
        load_s = time.perf_counter() - begin
        spread = [names[i * len(names) // arguments.streams % len(names)] for i in range(arguments.streams)]
        rounds = [(together(server.port, ["base"] * arguments.streams, arguments.tokens), together(server.port, spread, arguments.tokens))
                  for _ in range(arguments.rounds)]
    finally:
        server.stop()
base, adapted = (statistics.median(column) for column in zip(*rounds))
result = {"adapters": arguments.adapters, "rank": arguments.rank, "streams": arguments.streams, "stages": arguments.stages,
          "load_s": load_s, "base_tok_s": base, "adapted_tok_s": adapted, "ratio": adapted / base}
print(json.dumps(result) if arguments.json else
      f"{arguments.streams} streams, {arguments.stages} stages: base {base:.0f} tok/s, over {arguments.adapters} adapters of rank {arguments.rank} "
      f"{adapted:.0f} tok/s ({adapted / base:.2f}); all loaded on first use in {load_s:.1f} s")
