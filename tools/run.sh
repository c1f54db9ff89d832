#!/usr/bin/env bash
# `make run`: starts the stages and opens a chat, or asks one question when ASK is set or there is no terminal.
# usage: run.sh MODEL STAGES PORT [ASK]
set -euo pipefail
cd "$(dirname "$0")/.."
model=$1 stages=$2 port=$3 ask=${4:-}

./commissure up --local --detach --model "$model" --stages "$stages" --port "$port"
if [ -n "$ask" ]; then
  exec ./commissure ask "$ask"
elif [ -t 0 ] && [ -t 1 ]; then
  exec ./commissure chat
else
  exec ./commissure ask "What is the capital of France?"
fi
