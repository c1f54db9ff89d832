#!/usr/bin/env python3
"""How fast a stage reads an object from Cloud Storage, against curl with the same ranges and as many connections.

Both read all of one object of random bytes from fake-gcs-server on loopback, in turn: our reader in reads of `--read-mib` (parts of 8 to 64 MiB, 8 at a time, the
object's checksum apart), curl parts of 8 MiB, 8 at a time, thrown away. Prints the medians and their ratio; below GOAL the exit status is 1.

    bench/storage_ranges.py [--mib 512] [--read-mib 64] [--rounds 5] [--json] [--record]
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests/e2e"), str(ROOT / "tests/cloud"), str(ROOT / "bench")]
from harness import PROGRAM  # noqa: E402
from recording import record  # noqa: E402
from storage_emulator import emulator, make_bucket, upload  # noqa: E402

READER = pathlib.Path(os.environ.get("COMMISSURE_SOURCE_BENCH", PROGRAM.parents[2] / "bench/source_bench"))
PART, AT_ONCE = 8 << 20, 8
GOAL = 0.8


def our_rate(host, read_mib):
    """MB/s"""
    done = subprocess.run([READER, "gs://bench/object", str(read_mib)], env={**os.environ, "STORAGE_EMULATOR_HOST": host}, check=True, capture_output=True, text=True)
    return float(done.stdout)


def curl_rate(host, n_bytes, name="object"):
    url = f"http://{host}/download/storage/v1/b/bench/o/{name}?alt=media"
    with tempfile.NamedTemporaryFile("w", suffix=".curl") as config:
        for number, first in enumerate(range(0, n_bytes, PART)):
            config.write(("next\n" if number else "") + f'url = "{url}"\nrange = "{first}-{min(first + PART, n_bytes) - 1}"\noutput = "/dev/null"\nsilent\nfail\n')
        config.flush()
        start = time.monotonic()
        subprocess.run(["curl", "--no-progress-meter", "--noproxy", "*", "--parallel", "--parallel-max", str(AT_ONCE), "--config", config.name], check=True)
        return n_bytes / 1e6 / (time.monotonic() - start)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--read-mib", type=int, default=64)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true", help="append to bench/records")
    wish = parser.parse_args()
    n_bytes = wish.mib << 20
    with emulator() as host:
        make_bucket(host, "bench")
        upload(host, "bench", "object", os.urandom(n_bytes))
        rates = {"commissure": [], "curl": []}
        for number in range(wish.rounds + 1):
            for name, rate, wanted in (("commissure", our_rate, wish.read_mib), ("curl", curl_rate, n_bytes)):
                value = rate(host, wanted)
                if number:  # the first round warms up
                    rates[name].append(value)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    ratio = medians["commissure"] / medians["curl"]
    if wish.record:
        what = f"gs:// ranges, reads of {wish.read_mib} MiB, MB/s"
        print(record([("random", name, what, values) for name, values in rates.items()]))
    if wish.json:
        print(json.dumps({"mib": wish.mib, "rates_mb_s": rates, "medians_mb_s": medians, "ratio": ratio}))
    else:
        for name, values in rates.items():
            print(f"{name:11} {medians[name]:7.0f} MB/s  ({min(values):.0f} to {max(values):.0f})")
        print(f"ratio       {ratio:7.2f}  goal {GOAL:.2f}: {'reached' if ratio >= GOAL else 'NOT reached'}")
    return 0 if ratio >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
