#!/usr/bin/env python3
"""Fails when a file under src/ includes a folder that src/LAYERS does not grant it, or a library outside its home.

usage: check_layers.py [ROOT]
"""
import pathlib
import re
import sys

# Third-party headers and the only rooms that may see them (apps may see CLI11 alone).
HOMES = {
    "grpcpp/": {"wire"},
    "google/protobuf/": {"wire"},
    "nlohmann/": {"core"},
    "spdlog/": {"core"},
    "prometheus/": {"core"},
    "curl/": {"core"},
    "openssl/": {"core"},
    "boost/": {"api"},
    "CLI/": {"apps"},
    "yaml-cpp/": {"deploy"},
    "pcre2": {"text"},
    "immintrin.h": {"kernels"},
    "cuda": {"kernels"},
}


def check(root: pathlib.Path) -> list[str]:
    src = root / "src"
    allowed = {}
    for line in (src / "LAYERS").read_text().splitlines():
        room, _, granted = line.partition(":")
        allowed[room.strip()] = set(granted.split())
    errors = []
    for path in sorted(p for p in src.rglob("*") if p.suffix in {".h", ".cc", ".cu", ".cuh"}):
        room = path.relative_to(src).parts[0]
        if room not in allowed:
            errors.append(f"{path}: folder {room} is not in src/LAYERS")
            continue
        granted = allowed[room] | {room}
        for number, line in enumerate(path.read_text().splitlines(), 1):
            own = re.match(r'#include "(\w+)/', line)
            if own and own[1] in allowed and "*" not in granted and own[1] not in granted:
                errors.append(f"{path}:{number}: {room} may not include {own[1]}")
            library = re.match(r"#include <([^>]+)>", line)
            for prefix, homes in HOMES.items():
                if library and library[1].startswith(prefix) and room not in homes:
                    errors.append(f"{path}:{number}: <{library[1]}> belongs to {', '.join(sorted(homes))}")
    return errors


if __name__ == "__main__":
    found = check(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    print("\n".join(found) if found else "layers: clean")
    sys.exit(1 if found else 0)
