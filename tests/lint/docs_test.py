#!/usr/bin/env python3
"""What documents quote from the source is there: messages of troubleshooting.md, constants of limits.md, files and links of all."""
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SOURCES = {path: path.read_text() for path in (ROOT / "src").rglob("*") if path.suffix in {".h", ".cc"}}


def literals(text: str) -> str:
    """All string literals of a source, those that stand side by side joined."""
    joined = re.sub(r'"\s*\n\s*"', "", text)
    return "\n".join(re.findall(r'"((?:[^"\\\n]|\\.)*)"', joined)).replace('\\"', '"')


def check_messages(spoken: str) -> int:
    quoted = re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs/troubleshooting.md").read_text(), re.M)
    missing = [words for words in quoted if words not in spoken]
    assert not missing, f"troubleshooting.md quotes what no source says: {missing}"
    return len(quoted)


def check_limits() -> int:
    """A row of limits.md ends with `file: kName = value`, as the source has it."""
    rows = re.findall(r"`([\w/.]+): (k\w+) = ([^`]+)` \|$", (ROOT / "docs/limits.md").read_text(), re.M)
    for file, name, value in rows:
        text = (ROOT / "src" / file).read_text()
        found = re.search(rf"\b{name}(?: = |\{{|\()([^;]+?)[)}}]?;", text)
        assert found, f"limits.md: src/{file} has no {name}"
        assert found[1] == value, f"limits.md: {name} in src/{file} is {found[1]}, not {value}"
    return len(rows)


def check_links() -> int:
    n = 0
    for document in DOCUMENTS:
        text = re.sub(r"```.*?```", "", document.read_text(), flags=re.S)
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            if "://" in target:
                continue
            assert (document.parent / target).exists(), f"{document.relative_to(ROOT)}: no {target}"
            n += 1
        for name in re.findall(r"`((?:src|tests|tools|bench|docs|deploy|examples)/[\w./-]+\.\w+)`", text):
            assert (ROOT / name).exists(), f"{document.relative_to(ROOT)}: no {name}"
            n += 1
    return n


spoken = "\n".join(literals(text) for text in SOURCES.values())
n_messages, n_limits, n_links = check_messages(spoken), check_limits(), check_links()
assert n_messages > 20 and n_limits > 20 and n_links > 50, (n_messages, n_limits, n_links)
print(f"documents: {n_messages} messages, {n_limits} limits, {n_links} links and files")
