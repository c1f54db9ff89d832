#!/usr/bin/env bash
# Two stage processes by hand on loopback, one question, and an orderly end.
# usage: two_stages_local.sh MODEL [PORT]
set -euo pipefail
model=${1:?usage: two_stages_local.sh MODEL [PORT]}
port=${2:-8080}
commissure=${COMMISSURE_PROGRAM:-$(dirname "$0")/../commissure}

STAGE=b K1=4 MODEL_DIR=$model PORT=$((port + 1)) "$commissure" stage &
b=$!
STAGE=a K1=4 MODEL_DIR=$model PORT=$port B_ENDPOINT=127.0.0.1:$((port + 1)) "$commissure" stage &
a=$!
"$commissure" warm --url "http://127.0.0.1:$port" &
warm=$!
trap 'kill $a $b $warm 2>/dev/null; wait' EXIT

wait -n $a $b $warm || exit 1  # a stage that ends, say because its port is taken, has said why
"$commissure" ask --url "http://127.0.0.1:$port" --temperature 0 --max-tokens 16 "What is the capital of France?"
