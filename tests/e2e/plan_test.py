#!/usr/bin/env python3
"""`commissure plan` as a person uses it: a model in the cache, a config.json alone, wishes that cannot be met."""
import json
import pathlib
import subprocess
import tempfile

import harness

GEMMA_27B = {
    "architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "hidden_size": 5376, "intermediate_size": 21504,
    "num_hidden_layers": 62, "num_attention_heads": 32, "num_key_value_heads": 16, "head_dim": 128, "sliding_window": 1024,
    "sliding_window_pattern": 6, "vocab_size": 262208, "max_position_embeddings": 131072, "rms_norm_eps": 1e-6, "rope_theta": 1e6,
    "rope_local_base_freq": 10000.0, "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "query_pre_attn_scalar": 168,
    "tie_word_embeddings": True, "hidden_activation": "gelu_pytorch_tanh",
}


def plan(*arguments):
    return subprocess.run([harness.PROGRAM, "plan", *map(str, arguments)], capture_output=True, text=True, timeout=60)


def planned(*arguments):
    answer = plan(*arguments, "--json")
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def main():
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder) / "config.json"
        config.write_text(json.dumps(GEMMA_27B))
        l4 = planned(config, "--machines", "l4", "--context", 4096)
        assert l4["is_estimate"] and len(l4["plan"]["stages"]) == 3 and len(l4["plan"]["cuts"]) == 2, l4["plan"]
        assert abs(sum(stage["weight_bytes"] for stage in l4["plan"]["stages"]) - 54.0e9 - 2.82e9) < 0.3e9  # the embedding twice
        assert abs(l4["plan"]["usd_per_hour"] - 3 * 1.421) < 0.02 * 3 * 1.421
        eight = [a for a in l4["alternatives"] if a["weights"] == "Q8_0"]
        assert len(eight) == 1 and len(eight[0]["stages"]) == 2
        whole = planned(config, "--machines", "rtx-pro-6000", "--context", 4096)
        assert len(whole["plan"]["stages"]) == 1
        assert "not yet a deployment" in plan(config, "--machines", "rtx-pro-6000").stdout
        assert "Not splitting is cheaper" in plan(config, "--machines", "cpu-8,rtx-pro-6000").stdout

        for arguments, part in (
            ([config, "--machines", "l4", "--tok-s", 1000], "the fastest gives"),
            ([config, "--machines", "cpu-4", "--max-stages", 2, "--streams", 64], "do not hold that"),
            ([config, "--machines", "tpu"], "no machine tpu"),
            ([config, "--machines", "rtx-pro-6000", "--region", "us-east4", "--tok-s", 4], "not offered in us-east4"),
            ([config, "--catalogue", config], "prices must be a map"),
            ([pathlib.Path(folder) / "nothing.gguf"], ""),
        ):
            answer = plan(*arguments)
            assert answer.returncode == 1 and part in answer.stderr and answer.stderr.count("\n") == 1, (arguments, answer)

    with tempfile.TemporaryDirectory() as folder:
        config, target = pathlib.Path(folder) / "config.json", pathlib.Path(folder) / "commissure.yaml"
        config.write_text(json.dumps(GEMMA_27B))
        init = [harness.PROGRAM, "init", "--yes", "-f", target, "--project", "acme-project", "--model", config, "--region", "us-east4", "--tok-s", 4]
        answer = subprocess.run(list(map(str, init)), capture_output=True, text=True, timeout=60)
        assert answer.returncode == 0, answer.stderr
        text = target.read_text()
        assert "gpu: nvidia-l4" in text and "count: 3" in text and "project: \"acme-project\"" in text, text
        again = subprocess.run(list(map(str, init)), capture_output=True, text=True, timeout=60)
        assert again.returncode == 1 and "--force" in again.stderr and target.read_text() == text, again
        assert subprocess.run(list(map(str, [*init, "--force"])), capture_output=True, timeout=60).returncode == 0

    models = pathlib.Path(harness.MODELS) if hasattr(harness, "MODELS") else None
    found = sorted(models.glob("SmolLM2*.gguf")) if models else []
    if found:
        small = planned(found[0], "--machines", "cpu-4")
        assert not small["is_estimate"] and len(small["plan"]["stages"]) == 1
    print("plan: ok")


if __name__ == "__main__":
    main()
