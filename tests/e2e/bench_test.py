#!/usr/bin/env python3
"""`commissure bench`: counts, definitions, failures and the plot, against a real chain."""
import json
import pathlib
import tempfile
import xml.etree.ElementTree

from harness import SMOL, Chain, need


def main():
    need(SMOL)
    with Chain(SMOL, stages=2, flags=["--max-num-seqs", "4"]) as chain, tempfile.TemporaryDirectory() as folder:
        plot = pathlib.Path(folder) / "latency.svg"
        load = ["--requests", "8", "--prompt-tokens", "60", "--max-tokens", "8", "--shared-prefix", "0.5"]
        done = chain.run("bench", *load, "--concurrency", "4", "--json", "--plot", str(plot),
                         "--goodput", "ttft:100000,tpot:100000")
        assert "\033" not in done.stderr + done.stdout, "control codes outside a terminal"
        report = json.loads(done.stdout)
        assert report["completed"] == 8 and report["failed"] == 0, report
        assert report["total_input_tokens"] == 8 * 60 and report["total_output_tokens"] == 8 * 8, report
        assert report["request_goodput"] == report["request_throughput"] > 0, report
        assert 0 < report["p50_ttft_ms"] <= report["p99_ttft_ms"] <= report["p99_e2el_ms"], report
        mean_e2e = report["mean_ttft_ms"] + 7 * report["mean_tpot_ms"]
        assert abs(mean_e2e - report["mean_e2el_ms"]) < 1e-6, (mean_e2e, report)
        assert xml.etree.ElementTree.parse(plot).getroot().tag.endswith("svg")

        table = chain.run("bench", *load, "--rate", "50", "--chat").stdout
        assert "Successful requests" in table and "Time to first token" in table, table

        done = chain.run("bench", "--sweep", "--concurrency", "4", "--requests", "1", "--prompt-tokens", "20", "--max-tokens", "4", "--json", "--plot", str(plot))
        points = json.loads(done.stdout)["sweep"]
        assert [(point["streams"], point["completed"], point["total_output_tokens"]) for point in points] == [(1, 1, 4), (2, 2, 8), (4, 4, 16)], points
        assert "by streams" in plot.read_text() and xml.etree.ElementTree.parse(plot).getroot().tag.endswith("svg")
        table = chain.run("bench", "--sweep", "--concurrency", "2", "--requests", "1", "--max-tokens", "4").stdout
        assert [line.split()[0] for line in table.splitlines()] == ["streams", "1", "2", "Latencies"], table

        failed = chain.run("bench", "--requests", "2", "--warmup", "0", "--prompt-tokens", "20000", "--max-tokens", "4", check=False)
        assert failed.returncode == 1 and "maximum context length" in failed.stdout, failed
        wrong = chain.run("bench", "--goodput", "ttft", check=False)
        assert wrong.returncode == 1 and "--goodput" in wrong.stderr, wrong
    print("bench: counts, latencies, plot and failures are right")


if __name__ == "__main__":
    main()
