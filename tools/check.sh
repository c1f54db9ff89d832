#!/usr/bin/env bash
# The gate before a commit. usage: tools/check.sh [quick|full]
#   quick  layers, formatting of changed files, release build, unit tests
#   full   quick, then everything `make test` runs
set -euo pipefail
cd "$(dirname "$0")/.."
python3 tools/check_layers.py

if format=$(command -v clang-format-19 || command -v clang-format); then
  mapfile -t files < <(git ls-files 'src/*.h' 'src/*.cc' 'tests/*.h' 'tests/*.cc' 'bench/*.cc')
  "$format" --dry-run -Werror "${files[@]}"
fi
if [ "${1:-quick}" = full ]; then
  exec make --no-print-directory test
fi
make --no-print-directory build/release/build.ninja
cmake --build --preset release
ctest --preset release -L 'unit|lint'
