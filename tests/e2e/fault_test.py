#!/usr/bin/env python3
"""A relay between the stages spoils one frame after the other, of every kind and in every way, under mixed streams. What a network
can do (cut, delay, reorder, repeat, change bits) fails no request and changes no token; what only a broken or hostile stage does is
at worst a clear error for the requests of that step, and the others go on with the same tokens."""
import concurrent.futures
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import threading
import time

from harness import PROGRAM, QUICK, SMOL, Chain, free_port, need, wait_until

need(SMOL)
RELAY = pathlib.Path(os.environ.get("COMMISSURE_FAULT_PROXY", PROGRAM.resolve().parents[1] / "tests/support/fault_proxy"))
N_STREAMS = 3 if QUICK else 6

NETWORK = ["cut", "half_close", "delay", "duplicate", "corrupt"]
CASES = [("hello", way, action) for way in ("down", "up") for action in NETWORK + ["foreign", "replay"]]
CASES += [("step", "down", action) for action in NETWORK + ["throttle", "reorder", "foreign", "replay", "count", "nan"]]
CASES += [("result", "up", action) for action in NETWORK + ["throttle", "reorder", "foreign", "replay", "count"]]
CASES += [(kind, "up", action) for kind in ("error", "goodbye") for action in NETWORK]
# A peer that lies in a well-formed way: the step's requests may fail, by name.
HOSTILE = {("step", "foreign"), ("step", "nan"), ("result", "foreign"), ("result", "count")}


class RelayedChain(Chain):
    """Stages a, b, c with a relay before b and before c."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="commissure-e2e-")
        self.port = free_port()
        self.processes, self.relays = [], {}

    def start(self, name, *command, **options):
        log = open(f"{self.folder.name}/{name}.log", "w")
        environment = {key: value for key, value in os.environ.items() if key not in ("CUTS", "STAGE")}
        process = subprocess.Popen(command, stderr=log, env=environment, text=True, **options)
        self.processes.append(process)
        return process

    def stage(self, letter, *flags):
        self.start(letter, PROGRAM, "stage", "--stage", letter, "--cuts", "10,20", "--model", str(SMOL), "--lease",
                   f"{self.folder.name}/lease", *flags)

    def __enter__(self):
        socket = f"unix:{self.folder.name}/"
        pathlib.Path(f"{self.folder.name}/lease").touch()
        for letter in "bc":
            self.relays[letter] = self.start(f"relay-{letter}", RELAY, f"{socket}relay-{letter}", f"{socket}{letter}",
                                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            assert self.relays[letter].stdout.readline() == "ready\n"
        self.stage("c", "--listen", socket + "c")
        self.stage("b", "--listen", socket + "b", "--next", socket + "relay-c")
        self.stage("a", "--port", str(self.port), "--next", socket + "relay-b")
        wait_until(self.is_well, 60, "the chain is up")
        return self

    def is_well(self):
        try:
            return self.request("GET", "/health", timeout=20)[0] == 200
        except OSError:
            return False

    def tell(self, relay, command):
        self.relays[relay].stdin.write(command + "\n")
        self.relays[relay].stdin.flush()

    def close(self):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        self.folder.cleanup()


def job(index):
    body = {"prompt": f"Day {index}. " + "The ferry left the harbour before dawn. " * (1 + index % 3 * 8), "max_tokens": 16 + 8 * (index % 3),
            "ignore_eos": True, "return_tokens_as_token_ids": True}
    body.update({"temperature": 0} if index % 2 else {"temperature": 0.8, "top_p": 0.9, "seed": 7 + index})
    if index % 3 == 0:
        body["logprobs"] = 2
    return body


def answer(chain, index):
    """(text, log-probabilities), or the error that the client was told. Nobody is refused: who comes while streams are opened again waits."""
    text, scores = "", []
    try:
        for event in chain.stream("/v1/completions", job(index)):
            if "error" in event:
                return event["error"]["message"]
            text += event["choices"][0]["text"]
            scores += (event["choices"][0].get("logprobs") or {}).get("token_logprobs") or []
        return text, json.dumps(scores)
    except AssertionError as refusal:
        return refusal.args[0].decode()


with RelayedChain() as chain:
    expected = [answer(chain, index) for index in range(N_STREAMS)]
    assert all(isinstance(each, tuple) for each in expected), expected
    over, trial, told = threading.Event(), [0], []
    cases = CASES[::3] if QUICK else CASES

    def keep_asking(index):
        count = 0
        while not over.is_set():
            first = trial[0]
            found = answer(chain, index)
            if isinstance(found, str):
                told.append((cases[first:trial[0] + 1], found))
            else:
                assert found == expected[index], f"{cases[first:trial[0] + 1]}: stream {index} changed:\n{expected[index]}\n{found}"
            count += 1
        return count

    with concurrent.futures.ThreadPoolExecutor(N_STREAMS) as pool:
        streams = [pool.submit(keep_asking, index) for index in range(N_STREAMS)]
        try:
            for number, (kind, way, action) in enumerate(cases):
                relay = "bc"[number % 2]
                trial[0] = number
                started = time.monotonic()
                chain.tell(relay, f"{kind} {way} {action}")
                assert chain.relays[relay].stdout.readline() == "done\n", f"{kind} {way} {action}: no such frame came"
                wait_until(chain.is_well, 60, f"well again after {kind} {way} {action}")
                print(f"{kind} {way} {action} before {relay}: {time.monotonic() - started:.2f} s")
                for stream in streams:
                    if stream.done():
                        stream.result()  # raises what went wrong
        finally:
            over.set()
        n_answers = sum(stream.result(timeout=180) for stream in streams)
    for during, message in told:
        assert any((kind, action) in HOSTILE for kind, _, action in during), f"{during}: a request failed: {message}"
    assert chain.metric("commissure_kv_cache_usage_perc") == 0, "all KV is free at the end"
    print(f"fault: {len(cases)} spoiled frames, {n_answers} answers, {len(told)} told of a hostile step, none changed")
