#!/usr/bin/env bash
# Gives the secret of the API key its first value, COMMISSURE_API_KEY, before a service asks for it: without one stage A would not start.
# The key passes gcloud's standard input alone, never Terraform, whose state would keep it.
#
# usage: add_key.sh SECRET PROJECT
set -euo pipefail
cd "$(dirname "$0")"
secret=$1 project=$2
words=$(mktemp)
trap 'rm -f "$words"' EXIT
if versions=$(gcloud secrets versions list "$secret" --project="$project" --filter=state=ENABLED --limit=1 --format='value(name)' 2>"$words"); then
  [ -z "$versions" ] || exit 0
elif ! grep -q -e NOT_FOUND -e 'not been used in project' -e 'API .* not enabled' -e SERVICE_DISABLED "$words"; then
  cat "$words" >&2
  echo "whether the secret $secret has a value cannot be seen; where the right is missing: gcloud projects add-iam-policy-binding $project \
  --member=user:YOU --role=roles/secretmanager.admin; then run the same command again; nothing was made" >&2
  exit 1
fi
if [ -z "${COMMISSURE_API_KEY:-}" ]; then
  echo "the secret $secret has no value yet: export COMMISSURE_API_KEY=\$(openssl rand -hex 32) and run the same command again; nothing was made" >&2
  exit 1
fi
terraform apply -target=google_secret_manager_secret.api_key
printf %s "$COMMISSURE_API_KEY" | gcloud secrets versions add "$secret" --project="$project" --data-file=-
