#!/usr/bin/env python3
"""Builds the web page and writes it as a source file that embeds it.

usage: build_web.py NODE_FOLDER WEB OUT on|auto

WEB is copied to OUT/source and built there, so that nothing is written beside the sources; packages are installed only when the lock
file changes. Writes OUT/page_table.cc (the table of src/page/page_files.h; the files lie packed in OUT/packed) and OUT/licences.txt. With auto, where
packages cannot be fetched or the page cannot be built, it says so and writes an empty table: the program is built without the page.
"""
import gzip
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
         ".svg": "image/svg+xml", ".woff2": "font/woff2", ".json": "application/json"}
# Fonts in formats that browsers have had no need of for years; a page that nothing links to.
LEFT_OUT = re.compile(r"\.(ttf|woff)$|^_next/static/chunks/polyfills-|^404\.html$")
HASHED = re.compile(r"^_next/static/.*[.-][0-9a-f]{8,}\.")


def run(node: pathlib.Path, folder: pathlib.Path, *command: str) -> None:
    environment = {**os.environ, "PATH": f"{node}:{os.environ['PATH']}", "NEXT_TELEMETRY_DISABLED": "1", "CI": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")


def copy_sources(web: pathlib.Path, source: pathlib.Path) -> None:
    for old in source.glob("*") if source.is_dir() else []:
        if old.name == "node_modules":
            continue
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    ignored = shutil.ignore_patterns("node_modules", ".next", "out")
    shutil.copytree(web, source, ignore=ignored, dirs_exist_ok=True)


def build(node: pathlib.Path, web: pathlib.Path, out: pathlib.Path) -> pathlib.Path:
    source, stamp = out / "source", out / "packages.sha256"
    lock = hashlib.sha256((web / "package-lock.json").read_bytes()).hexdigest()
    copy_sources(web, source)
    if not (source / "node_modules").is_dir() or not stamp.is_file() or stamp.read_text() != lock:
        stamp.unlink(missing_ok=True)
        run(node, source, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
        stamp.write_text(lock)
    run(node, source, "node", "node_modules/next/dist/bin/next", "build")
    return source


def page_path(name: str) -> str:
    if name == "index.html":
        return "/"
    return "/" + name.removesuffix(".html")


def embed(pages: pathlib.Path, out: pathlib.Path) -> None:
    packed = out / "packed"
    shutil.rmtree(packed, ignore_errors=True)
    packed.mkdir()
    names = [str(path.relative_to(pages)) for path in pages.rglob("*") if path.is_file()]
    assembler, declarations, rows = [], [], []
    for i, name in enumerate(sorted((n for n in names if not LEFT_OUT.search(n)), key=page_path)):
        data = (pages / name).read_bytes()
        (packed / f"{i}.gz").write_bytes(gzip.compress(data, 9, mtime=0))
        symbol = f"commissure_page_{i}"
        assembler.append(f'asm(".section .rodata\\n.globl {symbol}\\n{symbol}:\\n.incbin \\"{packed}/{i}.gz\\"\\n'
                         f'.globl {symbol}_end\\n{symbol}_end:\\n.text\\n");')
        declarations.append(f'extern "C" const unsigned char {symbol}[], {symbol}_end[];')
        kind = TYPES[pathlib.Path(name).suffix]
        etag = hashlib.sha256(data).hexdigest()[:32]
        rows.append(f'{{{json.dumps(page_path(name))}, "{kind}", "\\"{etag}\\"", {str(bool(HASHED.match(name))).lower()}, {len(data)}, '
                    f"{symbol}, {symbol}_end}},")
    nl = "\n"
    (out / "page_table.cc").write_text(
        f'#include "page/page_files.h"\n{nl.join(declarations)}\n{nl.join(assembler)}\nnamespace commissure {{\n'
        f"std::span<const PageFile> page_files() {{\nstatic const PageFile kFiles[] = {{\n{nl.join(rows)}\n}};\nreturn kFiles;\n}}\n}}\n")


def write_licences(source: pathlib.Path, out: pathlib.Path) -> None:
    """Of all packages that are no tools of the build: the page is made of some of them."""
    lock = json.loads((source / "package-lock.json").read_text())
    text = "Packages that the web page of this program is made of.\n"
    for name, package in sorted(lock["packages"].items()):
        folder = source / name
        if not name or package.get("dev") or package.get("optional") or not folder.is_dir():
            continue
        short = name.removeprefix("node_modules/")
        text += f"\n---- {short} {package['version']} ({package.get('license', 'see its package')})\n\n"
        for file in sorted(folder.glob("*")):
            if re.match(r"(licen[cs]e|notice|copying)", file.name, re.IGNORECASE) and file.is_file():
                text += file.read_text(errors="replace").strip() + "\n"
    (out / "licences.txt").write_text(text)


def leave_out(out: pathlib.Path) -> None:
    shutil.rmtree(out / "packed", ignore_errors=True)
    (out / "licences.txt").write_text("")
    (out / "page_table.cc").write_text(
        '#include "page/page_files.h"\nnamespace commissure {\nstd::span<const PageFile> page_files() { return {}; }\n}\n')


def main() -> None:
    node, web, out = (pathlib.Path(argument) for argument in sys.argv[1:4])
    out.mkdir(parents=True, exist_ok=True)
    try:
        source = build(node, web, out)
        write_licences(source, out)
        embed(source / "out", out)
    except RuntimeError as problem:
        if sys.argv[4] != "auto":
            sys.exit(str(problem))
        leave_out(out)
        print(f"{problem}\nThe program is built without the web page (-DCOMMISSURE_WEB=on makes this an error, off says nothing).")


if __name__ == "__main__":
    main()
