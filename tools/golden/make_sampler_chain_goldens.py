#!/usr/bin/env python3
"""Makes tests/golden/sampling/llama_cases.json: what llama.cpp's samplers do with logits (DRY, XTC, top-n-sigma, mirostat 2).

usage: make_sampler_chain_goldens.py --llama-sampler PROGRAM

PROGRAM is a build of llama_sample.cc beside this file against llama.cpp (-I include -I ggml/include -I src, -lllama); the
recorded file is of llama-cpp-python 0.3.36's. Each case has name, params (by the names of SamplingParams), history and
  logits [n_vocab] and logits_after [n_vocab]                    DRY
  logits [n_vocab] and kept, the ids that may still be drawn     XTC and top-n-sigma, at probability 1
  steps, each with logits, kept, drawn and mu after the draw     mirostat 2, in a row
"""
import argparse
import json
import pathlib
import random
import subprocess

N_VOCAB = 20  # as many as one answer lists, so that it tells the whole set
SEED = 20261127


class Llama:
    def __init__(self, program):
        self.program = program

    def run(self, samplers, history, steps):
        """For every step of logits: (drawn, mu, {id: logit} of those left)."""
        flat = " ".join(repr(value) for logits in steps for value in logits)
        line = "|".join([";".join(samplers), " ".join(map(str, history)), flat, str(N_VOCAB)]) + "\n"
        out = subprocess.run([self.program], input=line, capture_output=True, text=True, check=True).stdout
        results = []
        for answer in out.splitlines():
            drawn, mu, *left = answer.split()
            results.append((int(drawn), float(mu), {int(pair.split("=")[0]): float(pair.split("=")[1]) for pair in left}))
        assert len(results) == len(steps), out
        return results


def some_logits(dice, n_apart=256):
    """Sixteenths are exact as text and as float32; all differ, as libraries break ties differently."""
    return [value / 16 - n_apart / 32 for value in dice.sample(range(n_apart), N_VOCAB)]


def dry_case(llama, dice):
    # Few letters and copied passages, so that there are repetitions of many lengths.
    history = [dice.randrange(N_VOCAB // 3) for _ in range(12)]
    for _ in range(dice.randrange(1, 4)):
        first = dice.randrange(len(history) - 3)
        history += history[first:first + dice.randrange(3, 9)] + [dice.randrange(N_VOCAB)] * dice.randrange(2)
    first = dice.randrange(len(history) - 6)
    history += history[first:first + dice.randrange(2, 7)]
    last_n = dice.choice([-1, -1, dice.randrange(2, len(history))])
    allowed = dice.randrange(1, 4)
    # Breakers may be in the history, before the repetition, inside it, or the token that would go on with it.
    breakers = sorted(dice.sample(range(N_VOCAB // 3), dice.randrange(3)))
    dry = {"multiplier": dice.choice([0.5, 0.75, 1.5]), "base": dice.choice([1.25, 1.75, 2.0]), "allowed_length": allowed, "last_n": last_n,
           "breakers": breakers}
    # One that is no token stands for none: llama.cpp wants a list.
    window = last_n if last_n >= 0 else len(history)
    spec = ["dry", dry["multiplier"], dry["base"], allowed, window, *(breakers or [N_VOCAB + 5])]
    logits = some_logits(dice)
    left = llama.run([" ".join(map(str, spec))], history, [logits])[0][2]
    return {"name": "dry", "params": {"dry": dry}, "history": history, "logits": logits, "logits_after": [left[i] for i in range(N_VOCAB)]}


def keeping_case(llama, dice, names):
    temperature = dice.choice([0.75, 1.5, 2.0])
    params = {"temperature": temperature}
    samplers = []
    if "top_n_sigma" in names:
        params["top_n_sigma"] = dice.choice([0.5, 1.0, 1.5, 2.0])
        samplers.append(f"top_n_sigma {params['top_n_sigma']}")
    samplers.append(f"temp {temperature}")
    if "xtc" in names:
        params |= {"xtc_probability": 1.0, "xtc_threshold": dice.choice([0.03, 0.1, 0.2])}
        samplers.append(f"xtc 1.0 {params['xtc_threshold']}")
    logits = some_logits(dice, 64)  # nearer to each other, so that several are likely
    left = llama.run(samplers, [], [logits])[0][2]
    return {"name": "+".join(names), "params": params, "history": [], "logits": logits, "kept": sorted(left)}


def mirostat_case(llama, dice):
    tau, eta, temperature = dice.choice([1.5, 2.5, 4.0]), dice.choice([0.1, 0.5]), dice.choice([1.0, 1.5])
    steps = [some_logits(dice, 64) for _ in range(24)]
    answers = llama.run([f"temp {temperature}", f"mirostat2 {dice.randrange(1000)} {tau} {eta}"], [], steps)
    told = [{"logits": logits, "kept": sorted(left), "drawn": drawn, "mu": mu} for logits, (drawn, mu, left) in zip(steps, answers)]
    return {"name": "mirostat2", "params": {"temperature": temperature, "mirostat": {"tau": tau, "eta": eta}}, "history": [], "steps": told}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--llama-sampler", required=True)
    llama = Llama(parser.parse_args().llama_sampler)
    dice = random.Random(SEED)
    cases = [dry_case(llama, dice) for _ in range(60)]
    for names in (["top_n_sigma"], ["xtc"], ["top_n_sigma", "xtc"]):
        cases += [keeping_case(llama, dice, names) for _ in range(15)]
    cases += [mirostat_case(llama, dice) for _ in range(8)]
    path = pathlib.Path(__file__).parents[2] / "tests/golden/sampling/llama_cases.json"
    path.write_text("[\n" + ",\n".join(json.dumps(each) for each in cases) + "\n]\n")
    changed = sum(case["logits"] != case["logits_after"] for case in cases[:60])
    print(f"{path}: {len(cases)} cases, DRY changes the logits of {changed} of 60")


if __name__ == "__main__":
    main()
