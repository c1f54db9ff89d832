#!/usr/bin/env python3
"""Every proof that docs/deploy.md names in its table of failures is a test that there is."""
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
table = (ROOT / "docs/deploy.md").read_text().split("## When something fails")[1].split("\n## ")[0]
rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|")][2:]
units = {f"{suite}.{name}" for path in ROOT.glob("src/*/*_test.cc") for suite, name in re.findall(r"^TEST(?:_[FP])?\((\w+), (\w+)\)", path.read_text(), re.M)}


def is_test(proof):
    if "_test.py" not in proof:
        return proof in units
    file, _, function = proof.partition(": ")
    path = ROOT / "tests/e2e" / file
    return path.exists() and (not function or f"\ndef {function}(" in path.read_text())


assert len(rows) > 20
for row in rows:
    proofs = re.findall(r"`([^`]+)`", row[-1])
    assert proofs, row
    for proof in proofs:
        assert is_test(proof), f"docs/deploy.md: there is no test {proof}"
print(f"failure matrix: {len(rows)} lines, each with its tests")
