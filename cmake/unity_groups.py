#!/usr/bin/env python3
"""Parts a room's sources into groups that may be compiled as one file: no two of a group give the same name to two things.

A name in an unnamed namespace belongs to its file alone, so two files may use it for different things. Read as one file they would
clash; such files go into different groups, and nobody has to invent another name for the sake of the build.

usage: unity_groups.py SIZE FILE...     prints FILE;GROUP a line, at most SIZE files a group
"""
import pathlib
import re
import sys

NAME = re.compile(r"\b(?:struct|class|union|enum class|enum)\s+(\w+)|^using (\w+) =|\b(\w+)\s*(?=[({=\[;])")
# Enumerators that are known without their type's name, and constants behind the first one of a line.
CONSTANT = re.compile(r"\bk[A-Z]\w*(?=\s*[=,}])")


def names_in(lines: list[str]) -> set[str]:
    """What is declared at the outermost level: clang-format begins those lines at the margin."""
    found = set()
    for line in lines:
        if line[:1].isalpha() or line.startswith("[["):
            if match := NAME.search(line):
                found.add(next(filter(None, match.groups())))
            if line.startswith(("enum ", "constexpr ", "const ")) and not line.startswith("enum class"):
                found |= set(CONSTANT.findall(line))
    return found


def read(path: str) -> tuple[set[str], set[str]]:
    """Names of the file's own, and all its names."""
    own, every, unnamed = [], [], False
    for line in pathlib.Path(path).read_text().splitlines():
        if line.startswith("namespace {"):
            unnamed = True
        elif re.match(r"}  // namespace$", line):
            unnamed = False
        elif macro := re.match(r"#define (\w+)", line):
            own.append(f"using {macro[1]} =")
        elif not line.startswith(("namespace", "TEST", "template", "extern")):
            (own if unnamed or line.startswith("static ") else every).append(line)
    mine = names_in(own)
    return mine, mine | names_in(every)


def main() -> None:
    size = int(sys.argv[1])
    groups: list[dict] = []
    for path in sys.argv[2:]:
        own, every = read(path)
        free = (g for g in groups if len(g["files"]) < size and not own & g["every"] and not every & g["own"])
        group = next(free, None)
        if group is None:
            group = {"files": [], "own": set(), "every": set()}
            groups.append(group)
        group["files"].append(path)
        group["own"] |= own
        group["every"] |= every
    for number, group in enumerate(groups):
        if len(group["files"]) > 1:
            print("\n".join(f"{path};{number}" for path in group["files"]))


if __name__ == "__main__":
    main()
