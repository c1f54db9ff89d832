#!/usr/bin/env python3
"""Clang refuses what takes a guarded member without its lock, and no source under src/ has a lock that Clang does not know."""
import pathlib
import re
import shutil
import subprocess
import sys

root = pathlib.Path(__file__).resolve().parents[2]

UNKNOWN = re.compile(r"std::(recursive_|shared_|timed_)?(mutex|condition_variable|lock_guard|unique_lock|scoped_lock|shared_lock)\b")
# core/mutex.h itself, and a part of XGrammar, whose lock it takes.
EXCEPT = {"core/mutex.h", "grammar/xgrammar_states.cc"}
unknown = [
    f"{path.relative_to(root)}:{number}: {line.strip()}"
    for path in sorted((root / "src").rglob("*"))
    if path.suffix in {".h", ".cc"} and not path.stem.endswith("_test") and str(path.relative_to(root / "src")) not in EXCEPT
    for number, line in enumerate(path.read_text().splitlines(), 1)
    if UNKNOWN.search(line)
]
assert not unknown, "take the locks of core/mutex.h:\n" + "\n".join(unknown)

clang = shutil.which("clang++-19") or shutil.which("clang++")
if clang is None:
    print("locks: 1 check passed; no clang++, so what it refuses was not tried")
    sys.exit(77)

HEADERS = """
#include "core/gate.h"
#include "core/guarded.h"
#include "core/mutex.h"
#include "core/queue.h"
template class commissure::BoundedQueue<int>;
template class commissure::Gate<int>;
template class commissure::Guarded<int>;
"""
FRAME = """
#line 1 "case_NUMBER"
namespace commissure::case_NUMBER {
class Counter {
 public:
  void add() { BODY }
 private:
  void add_one() REQUIRES(mutex_) { ++n_; }
  Mutex mutex_, other_;
  Condition changed_;
  int n_ GUARDED_BY(mutex_) = 0;
};
}
"""
HOLDS = "const MutexLock lock(mutex_); "
LEGAL = [
    HOLDS + "++n_;",
    HOLDS + "add_one();",
    HOLDS + "changed_.wait(mutex_, [this]() REQUIRES(mutex_) { return n_ > 0; });",
    HOLDS + "{ const MutexUnlock free(mutex_); } ++n_;",
]
ILLEGAL = {
    "no lock": "++n_;",
    "another lock": "const MutexLock lock(other_); ++n_;",
    "a lock that is gone": "{ " + HOLDS + "} ++n_;",
    "a function that needs it": "add_one();",
    "a lock given back": HOLDS + "const MutexUnlock free(mutex_); ++n_;",
    "a claim that does not say so": HOLDS + "changed_.wait(mutex_, [this] { return n_ > 0; });",
    "a wait without a lock": "changed_.wait(mutex_, [] { return true; });",
    "taken twice": HOLDS + HOLDS.replace("lock(", "again("),
}


def compile_(bodies: list[str]) -> list[str]:
    """What Clang says of each, all compiled at once."""
    command = [clang, "-std=c++20", "-fsyntax-only", f"-I{root / 'src'}", "-Wthread-safety", "-x", "c++", "-"]
    source = HEADERS + "".join(FRAME.replace("NUMBER", str(i)).replace("BODY", body) for i, body in enumerate(bodies))
    answer = subprocess.run(command, input=source, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    outside = [line for line in answer.stderr.splitlines() if "warning:" in line and not line.startswith("case_")]
    assert not outside, answer.stderr
    return [
        "\n".join(line for line in answer.stderr.splitlines() if line.startswith(f"case_{i}:") and "-Wthread-safety" in line)
        for i in range(len(bodies))
    ]


for body, said in zip(LEGAL, compile_(LEGAL)):
    assert not said, f"{body}\n{said}"
for (name, body), said in zip(ILLEGAL.items(), compile_(list(ILLEGAL.values()))):
    assert said, f"{name} was not refused: {body}"
print(f"locks: {1 + len(LEGAL) + len(ILLEGAL)} checks passed")
