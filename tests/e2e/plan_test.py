#!/usr/bin/env python3
"""`commissure plan` as a person uses it: a model in the cache, a config.json alone, wishes that cannot be met."""
import contextlib
import json
import os
import pathlib
import re
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
GEMMA_4B = {**GEMMA_27B, "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
            "query_pre_attn_scalar": 256}
SMOLLM2 = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "vocab_size": 49152, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 100000.0, "tie_word_embeddings": True,
}


def plan(*arguments):
    return subprocess.run([harness.PROGRAM, "plan", *map(str, arguments)], capture_output=True, text=True, timeout=60)


def planned(*arguments):
    answer = plan(*arguments, "--json")
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def plan_files():
    """What commissure.yaml describes, planned as written: the shipped examples fit, and a plan calls nobody."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        config, mine, plot = folder / "config.json", folder / "commissure.yaml", folder / "plan.svg"
        config.write_text(json.dumps(GEMMA_27B))
        examples = harness.ROOT / "examples/deploy"
        for name, cuts, flags in (("gemma-3-27b-3xl4", [20, 44], ()), ("gemma-3-27b-rtx", [], ()), ("gemma-3-27b-int8-2xl4", [33], ("--weights", "Q8_0"))):
            found = planned(config, "--config", examples / f"{name}.yaml", "--plot", plot, *flags)
            assert found["plan"]["cuts"] == cuts and found["problems"] == [], (name, found["plan"])
            for stage in found["plan"]["stages"]:
                assert stage["weight_bytes"] + stage["kv_bytes"] + stage["scratch_bytes"] == stage["needed_bytes"] < 0.95 * stage["usable_bytes"], (name, stage)
            drawn = plot.read_text()
            assert drawn.startswith("<svg") and drawn.rstrip().endswith("</svg>") and "Memory of each stage" in drawn and "USD a month" in drawn
        for name, known in (("gemma-3-4b-l4", GEMMA_4B), ("smollm2-cpu", SMOLLM2)):
            (folder / name).mkdir()
            (folder / name / "config.json").write_text(json.dumps(known))
            found = planned(folder / name / "config.json", "--config", examples / f"{name}.yaml")
            assert found["problems"] == [], (name, found)
            for stage in found["plan"]["stages"]:
                assert stage["weight_bytes"] + stage["kv_bytes"] + stage["scratch_bytes"] < 0.95 * stage["usable_bytes"], (name, stage)
        assert {path.stem for path in examples.iterdir()} == {"gemma-3-27b-3xl4", "gemma-3-27b-rtx", "gemma-3-27b-int8-2xl4", "gemma-3-4b-l4", "smollm2-cpu"}, "each example is planned"
        example = (examples / "gemma-3-27b-3xl4.yaml").read_text()
        mine.write_text(example + "kv_dtype: int8\n")
        narrow, wide = planned(config, "--config", mine), planned(config, "--config", mine, "--kv-dtype", "bf16")
        assert (narrow["kv_dtype"], wide["kv_dtype"]) == ("int8", "bf16") and narrow["plan"]["stages"][0]["kv_bytes"] < 0.52 * wide["plan"]["stages"][0]["kv_bytes"]
        for change, arguments, words in (
            (("streams: 2", "streams: 4"), (), "stage a needs 22.2 GB and has 21.9"),
            (("streams: 2", "streams: 2\nbudget: 4"), (), "it costs 4.26 USD an hour while all stages are up, the budget is 4.00"),
            (("streams: 2", "streams: 2\nbudget: cheap"), (), "budget is \"cheap\"; it must be a number above zero"),
            (("streams: 2", ""), (), "stage a needs"),  # a stage holds four contexts when it is told nothing
            (("", ""), ("--tok-s", 50), "tokens a second, not 50"),
            (("", ""), ("--ttft", 0.1), "the first token of a prompt of 1024 takes"),
            (("memory: 32Gi", "memory: 8Gi"), (), "set cpu: 8 and memory: 16Gi"),
            (("[20, 44]", "[20]"), (), ""),
            (("", ""), ("--region", "us-west1"), "nvidia-l4 is not offered in us-west1"),
            (("", ""), ("--weights", "Q2"), "--weights is Q2; there are: BF16, Q8_0, Q4_K_M"),
        ):
            mine.write_text(example.replace(*change))
            answer = plan(config, "--config", mine, *arguments)
            assert answer.returncode == 1 and words in answer.stderr and answer.stderr.count("\n") == 1, (change, arguments, answer)
        ttft = planned(config, "--machines", "l4", "--context", 4096, "--ttft", 0.65)
        assert ttft["plan"]["first_token_seconds"] <= 0.65 and len(ttft["plan"]["stages"]) >= 3, ttft["plan"]

        mine.write_text(example)
        assert re.search(r"\nBF16 +as the file says +[\d.]+ +[\d.]+ +[\d.]+ s +\d+ s +4\.26 +3112 ", plan(config, "--config", mine).stdout), plan(config, "--config", mine).stdout

        # Without gcloud and without a login.
        (folder / "empty").mkdir()
        mine.write_text(example)
        bare = {"PATH": str(folder / "empty"), "HOME": str(folder / "empty"), "PROJECT": "acme"}
        answer = subprocess.run([harness.PROGRAM, "plan", "--config", str(mine), "--dry-run", "--json"], capture_output=True, text=True, timeout=60, env=bare, cwd=harness.ROOT)
        assert answer.returncode == 0, answer.stderr
        commands = [json.loads(line)["command"] for line in answer.stdout.splitlines()]
        up = subprocess.run([harness.PROGRAM, "up", "--config", str(mine), "--dry-run", "--json"], capture_output=True, text=True, timeout=60, env=bare, cwd=harness.ROOT)
        assert up.stdout == answer.stdout
        deploys = [command for command in commands if " run deploy " in command]
        assert [command.split()[3] for command in deploys] == ["gemma27b-c", "gemma27b-b", "gemma27b-a"], commands
        assert all(command.startswith("gcloud ") for command in commands) and all("--kv-tokens,8192" in command for command in deploys), deploys
        nothing = subprocess.run([harness.PROGRAM, "plan"], capture_output=True, text=True, timeout=60, cwd=folder / "empty")
        assert nothing.returncode == 1 and "commissure.yaml is not here: name a model" in nothing.stderr, nothing


def seconds_for(points, rows):
    """As the planner reads measured points: linear between them, in proportion beyond the last."""
    below, above = [p for p in points if p[0] < rows], [p for p in points if p[0] >= rows]
    if not below:
        return above[0][1]
    (r0, t0), (r1, t1) = below[-1], above[0] if above else below[-1]
    return t0 * rows / r0 if not above else t0 + (t1 - t0) * (rows - r0) / (r1 - r0)


def measured_layers(model):
    """`bench --layers` writes a record; `plan` takes its times for the machine that it names, and no other."""
    with tempfile.TemporaryDirectory() as name:
        record, bare = pathlib.Path(name) / "layers.json", pathlib.Path(name) / "bare.json"
        bench = subprocess.run([harness.PROGRAM, "bench", "--layers", "--model", model, "--context", "128", "--machine", "cpu-4", "--out", record], capture_output=True, text=True, timeout=110)
        assert bench.returncode == 0 and "head" in bench.stdout, bench
        times = json.loads(record.read_text())
        assert times["weights"] == "Q4_1" and times["device"] and sorted(sum((kind["layers"] for kind in times["kinds"]), [])) == list(range(30)), times
        assert all(point[1] > 0 for kind in times["kinds"] for point in kind["decode_ms"] + kind["prefill_ms"]), times["kinds"]
        flags = ("--machines", "cpu-4", "--context", 128, "--streams", 4, "--layer-times", record)
        found = planned(model, *flags)
        stage = found["plan"]["stages"][0]
        step = seconds_for(times["embedding_ms"], 4) + seconds_for(times["head_ms"], 4)
        for kind in times["kinds"]:
            step += len(kind["layers"]) * (seconds_for(kind["decode_ms"], 4) + 4 * 128 * kind["position_us"] / 1000)
        assert stage["is_measured"] and found["layer_times"] == ["cpu-4"] and abs(stage["step_ms"] - step) < 1e-6 * step, (stage, step)
        assert "Steps on cpu-4 take what was measured on" in plan(model, *flags).stdout
        other = planned(model, "--machines", "cpu-8", "--layer-times", record)
        assert not other["plan"]["stages"][0]["is_measured"]
        bare.write_text(json.dumps({**times, "machine": ""}))
        for arguments, words in (((bare,), "for which machine? Measure again with --machine NAME"), ((record, "--kv-dtype", "int8"), "measured for KV in bf16, the plan is for int8"),
                                 ((record, "--layer-times", record), "other times of cpu-4"), ((model,), "invalid JSON at byte")):
            answer = plan(model, "--machines", "cpu-4", "--layer-times", *arguments)
            assert answer.returncode == 1 and words in answer.stderr and answer.stderr.count("\n") == 1, (arguments, answer)


def init_by_hand(command, budget):
    """What a person at a terminal sees who types this budget."""
    master, slave = os.openpty()
    with subprocess.Popen(list(map(str, command)), stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        os.write(master, budget.encode() + b"\n")
        seen = b""
        with contextlib.suppress(OSError):  # how a terminal says that the other side is gone
            while part := os.read(master, 4096):
                seen += part
    os.close(master)
    assert process.returncode == 1, seen
    return seen.decode()


def main():
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder) / "config.json"
        config.write_text(json.dumps(GEMMA_27B))
        l4 = planned(config, "--machines", "l4", "--context", 4096)
        assert l4["is_estimate"] and len(l4["plan"]["stages"]) == 3 and len(l4["plan"]["cuts"]) == 2, l4["plan"]
        assert abs(sum(stage["weight_bytes"] for stage in l4["plan"]["stages"]) - 54.0e9 - 2.82e9) < 0.3e9  # the embedding twice
        assert abs(l4["plan"]["usd_per_hour"] - 3 * 1.421) < 0.02 * 3 * 1.421
        rows = [stage["row_log_bytes"] for stage in l4["plan"]["stages"]]
        assert rows == [4096 * 5376 * 2] * 2 + [0], rows
        for stage in l4["plan"]["stages"]:  # in the host's memory, not the GPU's
            assert stage["needed_bytes"] == stage["weight_bytes"] + stage["kv_bytes"] + stage["scratch_bytes"], stage
        narrow = planned(config, "--machines", "l4", "--context", 4096, "--kv-dtype", "int8")
        kv = [sum(stage["kv_bytes"] for stage in found["plan"]["stages"]) for found in (l4, narrow)]
        assert narrow["kv_dtype"] == "int8" and abs(kv[1] / kv[0] - (128 + 4) / 256) < 1e-6, kv
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
        assert answer.returncode == 0 and "stage a: the image that is built here computes on CPUs only" in answer.stdout, answer
        poor = subprocess.run(list(map(str, [*init, "--force", "--budget", 1])), capture_output=True, text=True, timeout=60)
        assert poor.returncode == 1 and "the budget is 1.00" in poor.stderr, poor
        for typed, words in (("cheap", "the budget is \"cheap\"; it must be a number above zero"), ("1", "the budget is 1.00")):
            assert words in init_by_hand([word for word in init if word != "--yes"] + ["--force"], typed), typed
        text = target.read_text()
        assert "gpu: nvidia-l4" in text and "count: 3" in text and "project: \"acme-project\"" in text, text
        again = subprocess.run(list(map(str, init)), capture_output=True, text=True, timeout=60)
        assert again.returncode == 1 and "--force" in again.stderr and target.read_text() == text, again
        assert subprocess.run(list(map(str, [*init, "--force"])), capture_output=True, timeout=60).returncode == 0

    plan_files()

    models = pathlib.Path(harness.MODELS) if hasattr(harness, "MODELS") else None
    found = sorted(models.glob("SmolLM2*.gguf")) if models else []
    if found:
        small = planned(found[0], "--machines", "cpu-4")
        assert not small["is_estimate"] and len(small["plan"]["stages"]) == 1
        measured_layers(found[0])
    print("plan: ok")


if __name__ == "__main__":
    main()
