#!/usr/bin/env bash
# Installs the missing Debian packages of the groups named (tools/packages.txt). Says their names first.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
command -v dpkg-query >/dev/null || { echo "This set-up knows Debian 12; elsewhere install what tools/packages.txt names." >&2; exit 0; }

missing=()
for group in "$@"; do
  while read -r in_group name instead; do
    [ "$in_group" = "$group" ] || continue
    [ -z "$instead" ] || ! command -v "$instead" >/dev/null || continue
    dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
  done <"$here/packages.txt"
done
[ ${#missing[@]} -gt 0 ] || exit 0

echo "Installing ${#missing[@]} Debian packages: ${missing[*]}"
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
start=$SECONDS
if ! { "${as_root[@]}" apt-get update && "${as_root[@]}" apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  tail -n 15 "$log" >&2
  echo "apt-get failed; mend what it says above and run make again." >&2
  exit 1
fi
echo "Installed in $((SECONDS - start)) s."
