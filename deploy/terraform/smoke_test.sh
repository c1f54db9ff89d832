#!/bin/sh
# Asks a deployed endpoint one question: smoke_test.sh URL. Tokens pass to curl on standard input, never as arguments.
set -eu
url=$1
identity=$(gcloud auth print-identity-token 2>/dev/null || true)
{
  [ -z "$identity" ] || printf 'header = "X-Serverless-Authorization: Bearer %s"\n' "$identity"
  [ -z "${COMMISSURE_API_KEY:-}" ] || printf 'header = "Authorization: Bearer %s"\n' "$COMMISSURE_API_KEY"
} | curl --config - --fail-with-body --silent --show-error --max-time 1800 "$url/v1/chat/completions" \
  --header 'Content-Type: application/json' \
  --data '{"messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 16}'
echo
