#!/usr/bin/env python3
"""`commissure doctor`: what it says of this machine, of a machine with a GPU's driver (a stub of it), and of folders that no stage may use."""
import json
import os
import pathlib
import stat
import subprocess
import tempfile

from harness import PROGRAM


def doctor(*flags, **environment):
    return subprocess.run([PROGRAM, "doctor", *flags], capture_output=True, text=True, timeout=60, env=os.environ | environment)


def findings(answer):
    return {finding["topic"]: finding for finding in json.loads(answer.stdout)["findings"]}


with tempfile.TemporaryDirectory(prefix="commissure-e2e-") as folder:
    own = {"COMMISSURE_CACHE": f"{folder}/cache", "COMMISSURE_RUN_DIR": f"{folder}/run"}
    answer = doctor(**own)
    assert answer.returncode == 0 and answer.stdout.endswith("A stage can run here.\n"), (answer.stdout, answer.stderr)
    assert "\x1b" not in answer.stdout and answer.stderr == "", answer.stderr
    assert not os.listdir(folder), "it changes nothing"
    seen = findings(doctor("--json", **own))
    assert "kernels for" in seen["cpu"]["fact"] and seen["models"]["severity"] in ("good", "warning"), seen

    # A driver under the name by which it is looked for.
    stub = pathlib.Path(os.environ.get("COMMISSURE_STUB_DRIVER", PROGRAM.parents[1] / "src/doctor/libcommissure_stub_driver.so"))
    os.makedirs(f"{folder}/lib")
    os.symlink(stub, f"{folder}/lib/libcuda.so.1")
    answer = doctor("--json", LD_LIBRARY_PATH=f"{folder}/lib", STUB_DRIVER_CARDS="2", **own)
    seen, cards = findings(answer), json.loads(answer.stdout)["cards"]
    assert answer.returncode == 0 and "CUDA 12.2, cards: 2" in seen["gpu driver"]["fact"], seen
    assert [card["architecture"] for card in cards] == ["sm_89"] * 2, cards
    seen = findings(doctor("--json", LD_LIBRARY_PATH=f"{folder}/lib", STUB_DRIVER_FAILS="cuInit", **own))
    assert "cuInit: CUDA_ERROR_UNKNOWN" in seen["gpu"]["fact"], seen

    # A stage that is told to compute on a GPU says in one line why it cannot, before it looks for a model.
    for command in (["stage", "--device", "cuda", "--model", f"{folder}/none"], ["up", "--local", "--device", "cuda", "--model", f"{folder}/none"]):
        for libraries in ([f"{folder}/lib"] if pathlib.Path("/proc/driver/nvidia/version").exists() else ["", f"{folder}/lib"]):
            refused = subprocess.run([PROGRAM, *command], capture_output=True, text=True, timeout=60, env={**os.environ, **own, "LD_LIBRARY_PATH": libraries})
            last = refused.stderr.splitlines()[-1]
            assert refused.returncode == 2 and "no GPU can be used: " in last and last.endswith("computes on the CPU"), refused

    # A folder where others may write is no place for a chain's sockets.
    os.makedirs(own["COMMISSURE_RUN_DIR"])
    os.chmod(own["COMMISSURE_RUN_DIR"], stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO)
    answer = doctor("--json", **own)
    assert answer.returncode == 1 and not json.loads(answer.stdout)["can_run"], answer.stdout
    seen = findings(answer)["runs"]
    assert seen["severity"] == "failure" and "COMMISSURE_RUN_DIR" in seen["advice"], seen
print("doctor: ok")
