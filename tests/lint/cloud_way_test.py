#!/usr/bin/env python3
"""A value of commissure.yaml goes one way through src/cloud: no circle between its parts, and what lies outside (environment, programs, models) is handed in (src/cloud/outside.h)."""
import graphlib
import pathlib
import re
import sys

ROOM = pathlib.Path(__file__).resolve().parents[2] / "src/cloud"
# Bodies of functions that another part declares.
BODIES = {"foundation": "steps", "rollout": "steps", "schedule": "steps", "removal": "steps", "facts": "service", "reads": "state"}
REACHED_FOR = r"\b(getenv|process_environment|run_captured|start_process|popen|system)\s*\(|\bprocess_environment\b"


def main():
    parts, found = {}, []
    for path in sorted(ROOM.glob("*.[ch]*")):
        if path.suffix not in (".h", ".cc") or path.stem.endswith("_test"):
            continue
        text = path.read_text()
        part = BODIES.get(path.stem, path.stem)
        parts.setdefault(part, set()).update(set(re.findall(r'^#include "cloud/(\w+)\.h"', text, re.M)) - {part})
        found += [f"{path.name}: {match[0]}" for match in re.finditer(REACHED_FOR, text)]
    assert len(parts) > 10, parts
    assert not found, f"src/cloud reaches for what is handed in: {found}"
    order = list(graphlib.TopologicalSorter(parts).static_order())  # raises CycleError, naming the circle
    way = [part for part in reversed(order) if part in ("work", "target", "executor", "steps", "service", "state")]
    assert way.index("work") < way.index("executor") < way.index("steps") < way.index("service") < way.index("state"), way
    print("cloud: one way, " + " -> ".join(way))


if __name__ == "__main__":
    sys.exit(main())
