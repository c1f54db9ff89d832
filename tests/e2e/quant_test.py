#!/usr/bin/env python3
"""Weights quantised while they are loaded, on SmolLM2 expanded to bf16: a chain of three stages, each in a way of its own, has the bits of one stage; what `quantise` wrote has the bits of
what is quantised at load; perplexity is measured; and what cannot be is refused."""
import json
import os
import pathlib
import signal
import subprocess
import tempfile

from harness import PROGRAM, QUICK, ROOT, SMOL, Chain, need, wait_until

need(SMOL)
BODY = {"prompt": "The capital of France is", "max_tokens": 8, "temperature": 0, "logprobs": 2, "return_tokens_as_token_ids": True}
TEXTS = json.loads((ROOT / "tests/golden/logprobs/texts.json").read_text())
# Least and most rise of perplexity, most mean divergence, least agreement, on so few tokens: docs/weights.md has what was measured on more. This model is too small for NF4, which
# cannot leave perplexity nearly as it was; int8 may fall by chance.
BOUNDS = {"int8": (-0.01, 0.01, 0.005, 0.95), "nf4": (0.1, 0.5, 0.6, 0.5)}


def run(*arguments, code=0, env=None):
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=200, env={**os.environ, **(env or {})})
    assert done.returncode == code, (arguments, done.returncode, done.stderr)
    return done


def answer(model, quant=None, stages=1):
    with Chain(model, stages=stages, flags=["--quant", quant] if quant else []) as chain:
        prints = [stage["fingerprint"].partition("+") for stage in chain.status()["stages"]]
        assert len({print_[0] for print_ in prints}) == 1, prints
        return chain.post("/v1/completions", BODY)["choices"][0], [print_[2] for print_ in prints]


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    text_file = folder / "text"
    text_file.write_text("\n\n".join(text.get("text", "") for text in TEXTS))
    wide = folder / "wide"
    run("quantise", SMOL, "--quant", "bf16", "--out", wide)
    whole = json.loads(run("inspect", wide, "--json").stdout)
    assert set(whole["types"]) == {"BF16", "F32"}, whole["types"]

    # Three stages, each in a way of its own.
    with Chain(wide, cuts="10,20", flags=["--quant", "int8,nf4,none"]) as chain:
        assert [stage["fingerprint"].partition("+")[2] for stage in chain.status()["stages"]] == ["int8", "nf4", ""]
        mixed = chain.post("/v1/completions", BODY)["choices"][0]
        assert mixed["text"].strip().startswith("Paris"), mixed
        if not QUICK:
            verified = json.loads(chain.run("verify", "--max-tokens", "4", "--json").stdout)
            assert verified["same"], verified

    for quant in ("nf4",) if QUICK else ("int8", "nf4"):
        out = folder / quant
        run("quantise", wide, "--quant", quant, "--out", out)
        made, told = answer(wide, quant, stages=3)
        assert told == [quant] * 3
        written, told = answer(out)
        assert told == [quant] and written == made, (written, made)
        inspected = json.loads(run("inspect", wide, "--quant", quant, "--json").stdout)
        assert inspected["fingerprint"] == whole["fingerprint"] + "+" + quant
        assert inspected["layer_bytes"][0] < {"int8": 0.54, "nf4": 0.27}[quant] * whole["layer_bytes"][0]
        done = run("eval", out, "--text", text_file, "--against", wide, "--max-tokens", 400, "--json")
        found = json.loads(done.stdout)
        print(quant, found)
        least, most, most_kl, least_same = BOUNDS[quant]
        assert least < found["perplexity_change"] < most and 0 < found["mean_kl"] < most_kl and found["top1_agreement"] > least_same

    # What cannot be.
    for arguments, expected in (
        (("up", "--local", "--model", wide, "--quant", "int3"), "none, int8 or nf4"),
        (("stage", "--model", wide, "--quant", "int3"), "none, int8 or nf4"),
        (("stage", "--model", wide, "--quant", "int8,nf4,none"), "there are 1"),
        (("up", "--local", "--model", wide, "--stages", "2", "--quant", "int8,int8+head"), "both must be +head"),
        (("inspect", SMOL, "--quant", "int8"), "is quantised already"),
        (("plan", SMOL, "--quant", "int8"), "is quantised already"),
        (("plan", wide, "--quant", "nf4,int8"), "none, int8 or nf4"),
        (("quantise", wide, "--quant", "none", "--out", folder / "new"), "bf16"),
        (("quantise", out, "--quant", "bf16", "--out", folder / "new"), "expand the model it was made from"),
        (("up", "--local", "--model", SMOL, "--quant", "int8"), "is quantised already"),
        (("stage", "--model", SMOL, "--quant", "nf4", "--port", "0"), "is quantised already"),
        (("quantise", SMOL, "--quant", "int8", "--out", folder / "new"), "is quantised already"),
        (("eval", SMOL, "--text", text_file, "--quant", "int8"), "is quantised already"),
        (("up", "--local", "--model", wide, "--stages", "2", "--quant", "int8,nf4,none"), "give one for all or one for each"),
    ):
        assert expected in run(*arguments, code=2).stderr, arguments
    assert "none, int8 or nf4" in run("stage", "--model", wide, code=2, env={"QUANT": "int3"}).stderr
    assert not (folder / "new").exists()
    # Stopped, it leaves nothing half written.
    stopped = folder / "stopped"
    with subprocess.Popen([PROGRAM, "quantise", wide, "--quant", "nf4", "--out", stopped], stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: stopped.exists() and any(stopped.iterdir()), 60, "writing has begun")
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 1 and "stopped" in said, (process.returncode, said)
    assert not stopped.exists(), list(stopped.iterdir())
    assert "holds something" in run("quantise", wide, "--quant", "int8", "--out", wide, code=1).stderr
print("quant: ok")
