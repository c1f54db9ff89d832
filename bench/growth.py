#!/usr/bin/env python3
"""How throughput and latency grow: 1, 2, 4 ... 64 streams through 1 ... 6 local stages, as a table and a picture.

Every number of stages gets a chain of its own, one after the other, and `commissure bench --sweep` asks it. Stages of one machine share
its cores: more of them show what the cut costs, not what more machines bring.

    bench/growth.py [--stages 1-6] [--keep FILE.json] [--streams 64] [--requests 2] [--prompt 128] [--tokens 64] [--plot FILE.svg] [--record] [--json]
"""
import argparse
import json
import os
import pathlib
import subprocess

from chart import draw_growth
from recording import commit, cpu_name, record
from servers import PROGRAM, ROOT, Commissure

MEASURES = {"output_throughput": "tokens/s", "p50_ttft_ms": "first token p50, ms", "p50_itl_ms": "between tokens p50, ms", "p99_itl_ms": "between tokens p99, ms"}


def sweep(stages, options):
    """{streams: {measure: value}} of one chain."""
    with Commissure(options.model, stages) as server:
        server.first_token()
        command = [PROGRAM, "bench", "--sweep", "--json", "--url", f"http://127.0.0.1:{server.port}", "--concurrency", str(options.streams), "--requests",
                   str(options.requests), "--prompt-tokens", str(options.prompt), "--max-tokens", str(options.tokens)]
        points = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["sweep"]
    assert all(point["failed"] == 0 for point in points), points
    return {point["streams"]: {key: point[key] for key in MEASURES} for point in points}


def with_kept(measured, path):
    """What `path` has from earlier calls and `measured`; `path` has both afterwards."""
    if not path:
        return measured
    kept = json.loads(path.read_text()) if path.exists() else {}
    grown = {int(stages): {int(streams): point for streams, point in points.items()} for stages, points in kept.items()} | measured
    path.write_text(json.dumps(grown))
    return dict(sorted(grown.items()))


def print_table(grown):
    streams = list(next(iter(grown.values())))
    for key, title in MEASURES.items():
        print(f"\n{title:<24}" + "".join(f"{n:>9}" for n in streams) + "   streams")
        for stages, points in grown.items():
            print(f"{stages:>2} stage(s){'':<13}" + "".join(f"{point[key]:9.1f}" for point in points.values()))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(ROOT / "build/test-models/SmolLM2-135M-Instruct.Q4_1.gguf"))
    parser.add_argument("--stages", default="1-6", help="from-to, or one number")
    parser.add_argument("--keep", type=pathlib.Path, help="a JSON file for what was measured, so that a table grows over several calls")
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--requests", type=int, default=2, help="per stream")
    parser.add_argument("--prompt", type=int, default=128, help="tokens in")
    parser.add_argument("--tokens", type=int, default=64, help="tokens out")
    parser.add_argument("--plot", type=pathlib.Path, help="draw into this SVG file")
    parser.add_argument("--record", action="store_true", help="append to bench/records")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    first, last = (int(n) for n in (options.stages.split("-") * 2)[:2])
    measured = {stages: sweep(stages, options) for stages in range(first, last + 1)}
    grown = with_kept(measured, options.keep)
    model = pathlib.Path(options.model).name
    caption = f"{model}: {options.prompt} tokens in, {options.tokens} out; {cpu_name()}, {os.cpu_count()} cores, commit {commit()}"
    if options.plot:
        options.plot.write_text(draw_growth(grown, MEASURES, caption))
    if options.record:
        record([(model, f"commissure x{stages}", f"growth, {streams} streams, {options.prompt} in, {options.tokens} out, {key}", [value])
                for stages, points in measured.items() for streams, point in points.items() for key, value in point.items()])
    if options.json:
        return print(json.dumps({"cpu": cpu_name(), "cores": os.cpu_count(), "commit": commit(), "model": model, "stages": grown}))
    print(caption)
    print_table(grown)


if __name__ == "__main__":
    main()
