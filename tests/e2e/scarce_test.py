#!/usr/bin/env python3
"""Where memory or threads run out: a stage that cannot start says why and what to do; once it serves, requests fail and no process does."""
import json
import resource
import subprocess
import sys

from harness import PROGRAM, QUICK, SMOL, Chain, free_port, need, process_alive, wait_until

need(SMOL)
if QUICK:
    print("SKIPPED: a sanitizer maps more than any limit here")
    sys.exit(77)
MIB = 1 << 20

# At the start: at every limit an end with a line, or a stage that serves.
for limit_mib in (64, 150, 180, 250, 300, 400, 800):
    with subprocess.Popen(["bash", "-c", f"ulimit -v {limit_mib * 1024}; exec {PROGRAM} stage --stage a --cuts 15 --next unix:/nowhere --model {SMOL} --port {free_port()}"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as stage:
        try:
            said = stage.communicate(timeout=10)[0]
        except subprocess.TimeoutExpired:
            stage.terminate()
            said = stage.communicate(timeout=30)[0]
            assert stage.returncode == 0, (limit_mib, stage.returncode, said)
            print(f"{limit_mib} MiB: runs")
            continue
    last = said.strip().splitlines()[-1] if said.strip() else ""
    print(f"{limit_mib} MiB: {stage.returncode}: {last}")
    assert stage.returncode in (1, 127), (limit_mib, stage.returncode, said)  # 127: the loader of the system had no room
    assert any(word in said for word in ("memory", "ulimit", "cannot allocate", "failed to map", "cannot apply")), said

# While it serves: no thread is granted any more, and hardly any memory. Small requests may find what they need among what was freed; a large one cannot.
with Chain(SMOL, stages=2) as chain:
    pids = [stage["pid"] for stage in chain.state()["stages"]]
    body = {"prompt": "Once upon a time", "max_tokens": 8, "temperature": 0}
    large = json.dumps({"prompt": "x" * (6 * MIB)})
    before = chain.post("/v1/completions", body)["choices"][0]["text"]
    assert chain.request("POST", "/tokenize", large)[0] == 400, "too long, and there is memory to find out"
    free = {pid: resource.prlimit(pid, resource.RLIMIT_DATA) for pid in pids}  # not RLIMIT_AS: the allocator has address space to spare
    for pid in pids:
        used = next(int(line.split()[1]) << 10 for line in open(f"/proc/{pid}/status") if line.startswith("VmData:"))
        resource.prlimit(pid, resource.RLIMIT_DATA, (used + MIB, free[pid][1]))
    answers = []
    for _ in range(4):
        for method, path, given in (("GET", "/health", None), ("POST", "/v1/completions", body), ("GET", "/props", None)):
            answers.append(chain.request(method, path, None if given is None else json.dumps(given), timeout=100)[0])
    large_answers = {chain.request("POST", "/tokenize", large, timeout=100)[0] for _ in range(3)}
    print("answers without memory:", answers, "to large requests:", large_answers)
    assert large_answers == {503}, "the limit was not felt"
    assert set(answers) <= {200, 429, 500, 503}, answers
    assert all(process_alive(pid) for pid in pids) and [stage["pid"] for stage in chain.state()["stages"]] == pids, chain.state()
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_DATA, free[pid])
    wait_until(lambda: chain.request("GET", "/health")[0] == 200, 60, "the chain is well again")
    assert chain.post("/v1/completions", body)["choices"][0]["text"] == before
print("scarce: ok")
