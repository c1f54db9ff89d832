#!/usr/bin/env python3
"""No two types of one namespace have the same name: the linker would keep one of their constructors for both (the one-definition rule).

Headers, and what sources define outside of unnamed namespaces; formatted code begins such a definition in the first column.
"""
import collections
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
LINE = re.compile(r"(?P<open>(?:inline )?namespace (?P<space>[\w:]*) ?{)|(?P<close>}  // namespace)|"
                  r"(?:struct|class|enum class) (?P<name>\w+)(?: final)?(?: : [^;]*)? {")


def definitions(text):
    """Full names of the types that a file defines at the level of its namespaces; unnamed ones are left out."""
    spaces = []
    for line in text.splitlines():
        found = LINE.match(line)
        if found is None:
            continue
        if found["open"]:
            spaces.append(found["space"])
        elif found["close"]:
            spaces.pop()
        elif all(spaces) and not any(space.isupper() for space in spaces[-1].split("::")):  # a macro: one namespace for each ISA
            yield "::".join([*spaces, found["name"]])


assert list(definitions("namespace a {\nnamespace {\nstruct B {\n}  // namespace\nclass C : public D {\n struct E {\n")) == ["a::C"]
files = collections.defaultdict(list)
for path in [*ROOT.glob("src/**/*.h"), *ROOT.glob("src/**/*.cc")]:
    if path.name.endswith("_test.cc"):
        continue
    for name in definitions(path.read_text()):
        files[name].append(str(path.relative_to(ROOT)))
assert len(files) > 300, f"only {len(files)} types found: is the code formatted otherwise now?"
twice = {name: paths for name, paths in files.items() if len(paths) > 1}
assert not twice, f"two types of one name: {twice}"
print(f"names: {len(files)} types, each defined once")
