#!/usr/bin/env python3
"""A stage reads and holds what is its own: bytes read at most 1.01 x own tensors plus header; private memory at most the KV
that was used plus 64 MiB (mapped weights); resident at most own tensors plus KV plus 64 MiB (read weights)."""
import json

import sys

from harness import GEMMA, QUICK, SMOL, Chain, need

need(SMOL, GEMMA)
if QUICK:
    print("SKIPPED: a sanitizer's own memory would be measured")
    sys.exit(77)
MIB = 1 << 20

for model, kv_bytes_per_token, kv_flags in ((SMOL, 30 * 2 * 2 * 192, []), (GEMMA, 18 * 2 * 2 * 256, []), (SMOL, 30 * 2 * 3 * (64 + 4), ["--kv-dtype", "int8"])):
    for flags in ([*kv_flags], [*kv_flags, "--read-weights"]):
        with Chain(model, stages=3, flags=flags) as chain:
            # Uses the kernels, the head and several KV blocks on every stage.
            chain.post("/v1/completions", {"prompt": "word " * 700, "max_tokens": 32, "temperature": 0, "ignore_eos": True})
            inspection = json.loads(chain.run("inspect", str(model), "--stages", "3", *kv_flags, "--json").stdout)
            for stage, plan in zip(chain.status()["stages"], inspection["stages"]):
                own, read = stage["weight_bytes"], stage["source_bytes_read"]
                assert own == plan["weight_bytes"], (stage, plan)
                layers = stage["layers"][1] - stage["layers"][0]
                if model == SMOL:  # no windows
                    assert plan["kv_bytes"] == inspection["kv_tokens"] * kv_bytes_per_token * layers // 30, (plan, inspection)
                # Every stage but the last keeps the rows it handed on, bf16 [kv_tokens, d_model].
                is_last = stage["layers"][1] == inspection["n_layers"]
                assert plan["row_log_bytes"] == (0 if is_last else inspection["kv_tokens"] * inspection["d_model"] * 2), (plan, inspection)
                header = inspection["header_bytes"]
                kv = 64 * ((740 + 63) // 64 + 1) * kv_bytes_per_token * layers // inspection["n_layers"]
                print(f"{model.name} {stage['kv_dtype']} KV, {'read' if '--read-weights' in flags else 'mapped'} stage {stage['stage']}: own {own / MIB:.1f} MiB, read {(read - header) / own:.4f} x own + header, "
                      f"private {stage['private_bytes'] / MIB:.1f}, resident {stage['resident_bytes'] / MIB:.1f}, KV used {kv / MIB:.1f}")
                assert read <= 1.01 * own + header, stage
                if "--read-weights" in flags:
                    assert stage["resident_bytes"] <= own + kv + 64 * MIB, stage
                else:
                    assert stage["private_bytes"] <= kv + 64 * MIB, stage
print("memory: ok")
