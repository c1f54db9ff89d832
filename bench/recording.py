"""The lines of bench/records: what was measured, on which machine, at which commit."""
import csv
import datetime
import os
import pathlib
import statistics
import subprocess

from servers import ROOT

COLUMNS = "date commit cpu cores read_gb_s model program what median min max".split()


def cpu_name():
    """Of this machine, and which of its instruction sets is used where one is forced."""
    isa = os.environ.get("COMMISSURE_ISA")
    return model_name() + (f" at {isa}" if isa else "")


def model_name():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def commit():
    """The commit that is measured, marked where files other than the records differ from it."""
    def git(*words):
        return subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True)
    name = git("rev-parse", "--short", "HEAD").stdout.strip()
    return name + "+" * git("diff", "--quiet", "HEAD", "--", ".", ":!bench/records").returncode


def record(samples, bandwidth=None):
    """Appends `samples`, (model, program, what, values) each, to today's file; `bandwidth` in GB/s where it was measured."""
    path = ROOT / f"bench/records/{datetime.date.today()}.csv"
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if is_new:
            writer.writerow(COLUMNS)
        for model, program, what, values in samples:
            writer.writerow([datetime.date.today(), commit(), cpu_name(), os.cpu_count(), f"{bandwidth:.1f}" if bandwidth else "", model, program, what,
                             *(f"{f(values):.4g}" for f in (statistics.median, min, max))])
    return path.relative_to(ROOT)
