#!/usr/bin/env python3
"""Fails when a file under src/ includes a room that src/LAYERS does not grant it, a library outside its home, or test code.

A room is a folder with a line in src/LAYERS, "room: the rooms it may include"; rooms stand in the file from the ground up, and a
room may be granted only those above its own line in the file, so that no two can include each other. A test may see all of them.

usage: check_layers.py [ROOT]
"""
import pathlib
import re
import sys

# Third-party headers and the only rooms that may see them. A room's home holds for the rooms inside it.
HOMES = {
    "grpcpp/": {"wire"},
    "google/protobuf/": {"wire"},
    "nlohmann/": {"core"},
    "spdlog/": {"core"},
    "prometheus/": {"core"},
    "curl/": {"net"},
    "openssl/": {"core", "net"},
    "boost/": {"http"},
    "CLI/": {"commands"},
    "yaml-cpp/": {"deployment"},
    "histedit.h": {"terminal"},
    "jpeglib.h": {"image"},
    "jerror.h": {"image"},
    "png.h": {"image"},
    "webp/": {"image"},
    "gif_lib.h": {"image"},
    "xgrammar/": {"grammar"},
    "cpp/": {"grammar"},
    "pcre2": {"text"},
    "immintrin.h": {"kernels"},
    "zlib.h": {"kernels", "page"},
    "cuda": {"kernels"},
}


def read_rooms(text: str, errors: list[str]) -> dict[str, set[str]]:
    rooms: dict[str, set[str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        room, colon, granted = line.partition(":")
        if not colon:
            continue
        for name in granted.split():
            if name not in rooms:
                errors.append(f"src/LAYERS:{number}: {room} is granted {name}, which has no line above this one")
        rooms[room.strip()] = set(granted.split())
    return rooms


def is_test(path: pathlib.Path) -> bool:
    return path.stem.endswith("_test")


def check(root: pathlib.Path) -> list[str]:
    src = root / "src"
    errors: list[str] = []
    rooms = read_rooms((src / "LAYERS").read_text(), errors)
    for path in sorted(p for p in src.rglob("*") if p.suffix in {".h", ".cc", ".cu", ".cuh"}):
        room = path.parent.relative_to(src).as_posix()
        if room not in rooms:
            errors.append(f"{path}: folder {room} is not in src/LAYERS")
            continue
        below = list(rooms)[: list(rooms).index(room)]
        granted = (set(below) if is_test(path) else rooms[room]) | {room}
        for number, line in enumerate(path.read_text().splitlines(), 1):
            own = re.match(r'#include "([\w/]+)/[\w.]+"', line)
            if own and own[1] in rooms and own[1] not in granted:
                errors.append(f"{path}:{number}: {room} may not include {own[1]}")
            if own and own[1] == "support" and not is_test(path):
                errors.append(f"{path}:{number}: only tests may include tests/support")
            library = re.match(r"#include <([^>]+)>", line)
            for prefix, homes in HOMES.items():
                at_home = any(room == home or room.startswith(home + "/") for home in homes)
                if library and library[1].startswith(prefix) and not at_home:
                    errors.append(f"{path}:{number}: <{library[1]}> belongs to {', '.join(sorted(homes))}")
    return errors


if __name__ == "__main__":
    found = check(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    print("\n".join(found) if found else "layers: clean")
    sys.exit(1 if found else 0)
