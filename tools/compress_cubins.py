#!/usr/bin/env python3
"""Writes FILE.z beside each FILE: its length as 8 bytes, then its bytes as zlib packs them (a fifth of machine code's).

usage: compress_cubins.py FILE...
"""
import pathlib
import sys
import zlib

for name in sys.argv[1:]:
    code = pathlib.Path(name).read_bytes()
    pathlib.Path(name + ".z").write_bytes(len(code).to_bytes(8, "little") + zlib.compress(code, 9))
