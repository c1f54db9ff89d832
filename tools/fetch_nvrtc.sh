#!/usr/bin/env bash
# The compiler for GPU kernels, NVRTC 12.9.86, in the user's cache. Prints where its library is.
#   --where   exit 1 where it is not in the cache
#   --fetch   fetches it where it is missing (90 MB, by pip); exit 1 after some 20 s without network
set -euo pipefail
package=nvidia-cuda-nvrtc-cu12 version=12.9.86
sum=210cf05005a447e29214e9ce50851e83fc5f4358df8b453155d5e1918094dcb4
cache="${COMMISSURE_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/commissure}/nvrtc-$version"
library="$cache/libnvrtc.so.12"

if [ -f "$library" ]; then echo "$library"; exit 0; fi
[ "${1:-}" = --fetch ] || { echo "no NVRTC in $cache (tools/fetch_nvrtc.sh --fetch)" >&2; exit 1; }
[ "$(uname -m)" = x86_64 ] || { echo "NVRTC is fetched on x86-64 only" >&2; exit 1; }
mkdir -p "$(dirname "$cache")"
work=$(mktemp -d "$cache.XXXXXX")
trap 'rm -rf "$work"' EXIT
python3 -m pip download --quiet --retries 1 --timeout 10 --disable-pip-version-check --no-deps --only-binary :all: -d "$work" "$package==$version" >"$work/log" 2>&1 ||
  { echo "NVRTC could not be fetched: $(tail -n 1 "$work/log")" >&2; exit 1; }
wheel=$(ls "$work"/*.whl)
echo "$sum  $wheel" | sha256sum --check --status || { echo "$(basename "$wheel") is not the file that was expected" >&2; exit 1; }
python3 - "$wheel" "$work" <<'END'
import sys, zipfile
wheel, to = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    for name in ("libnvrtc.so.12", "libnvrtc-builtins.so.12.9"):
        with open(f"{to}/{name}", "wb") as out:
            out.write(archive.read("nvidia/cuda_nvrtc/lib/" + name))
END
mkdir -p "$cache"
mv "$work/libnvrtc-builtins.so.12.9" "$cache/"
mv "$work/libnvrtc.so.12" "$library"  # last: a cache that has it is whole
echo "$library"
