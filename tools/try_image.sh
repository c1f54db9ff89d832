#!/usr/bin/env bash
# Builds the whole image with buildah, says what it is, and lets three stages of it answer one question. Debian 12, as root.
#
# usage: tools/try_image.sh [--baked] MODEL.gguf [IMAGE]
#        tools/try_image.sh --is-built     whether localhost/commissure is of this source tree
#   --baked: copies the model into the image first, as `weights: baked` does; the stages then find it there.
#   IMAGE: one that is built already. Else deploy/Dockerfile is built on a bare Debian 12 from debootstrap, which takes
#   minutes; BUILD_FLAGS goes to `buildah bud`.
set -euo pipefail
most_mb=150 # without a model
cd "$(dirname "$0")/.."
export STORAGE_DRIVER=${STORAGE_DRIVER:-vfs} BUILDAH_ISOLATION=chroot
# What the Dockerfile copies, in one number: the label `source` of the image.
source_digest() {
  find CMakeLists.txt CMakePresets.json cmake src deploy/Dockerfile deploy/catalogue.yaml deploy/collect_image.sh tools/packages.txt \
    tools/install_packages.sh -type f ! -path '*/target/*' ! -path '*/__pycache__/*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16
}
if [ "${1:-}" = --is-built ]; then
  label=$(buildah inspect --type image localhost/commissure 2>/dev/null | python3 -c 'import json, sys; print((json.load(sys.stdin)["OCIv1"]["config"].get("Labels") or {}).get("source", ""))' 2>/dev/null || true)
  [ "$label" = "$(source_digest)" ]
  exit
fi
baked=
[ "${1:-}" != --baked ] || { baked=yes; shift; }
[ $# -ge 1 ] || { sed -n '2,10s/^# \{0,1\}//p' "tools/try_image.sh"; exit 2; }
model=$(realpath "$1")
image=${2:-localhost/commissure}
port=${PORT:-18080}
command -v buildah >/dev/null || { echo "buildah is not installed: apt-get install buildah debootstrap" >&2; exit 77; }
work=$(mktemp -d)
container= pids=()
finish() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait
  [ -z "$container" ] || buildah rm "$container" >/dev/null
  rm -rf "$work"
}
trap finish EXIT

if [ $# -lt 2 ]; then
  debootstrap --variant=minbase --include=ca-certificates bookworm "$work/root" >"$work/log" 2>&1 || { tail -n 5 "$work/log" >&2; exit 1; }
  tar -C "$work/root" -cf "$work/base.tar" .
  container=$(buildah from scratch)
  buildah add -q "$container" "$work/base.tar" / >/dev/null
  buildah commit -q "$container" localhost/bookworm >/dev/null
  buildah rm "$container" >/dev/null
  container=
  start=$SECONDS
  # shellcheck disable=SC2086
  buildah bud --network host --pull-never ${BUILD_FLAGS:-} --build-arg BASE=localhost/bookworm --label "source=$(source_digest)" -f deploy/Dockerfile -t "$image" .
  echo "built in $((SECONDS - start)) s"
fi

if [ -n "$baked" ]; then
  mkdir -p "$work/bake/model"
  cp "$model" "$work/bake/model/model.gguf"
  chmod -R a+rX "$work/bake/model"
  printf 'FROM %s\nCOPY model /model\n' "$image" | buildah bud --pull-never -f - -t localhost/commissure-baked "$work/bake" >"$work/log" 2>&1 || { tail -n 5 "$work/log" >&2; exit 1; }
  image=localhost/commissure-baked
fi

buildah inspect --type image "$image" | python3 -c '
import json, sys
image = json.load(sys.stdin)["OCIv1"]
config = image["config"]
layers = len(image["rootfs"]["diff_ids"])
print("user", config["User"], "- entry point", config["Entrypoint"] + config["Cmd"], "-", layers, "layer" + "s" * (layers > 1))
assert config["User"].split(":")[0] not in ("", "0", "root"), "a program of the image would run as root"
assert config["Entrypoint"] == ["/usr/bin/commissure"] and config["Cmd"] == ["stage"]'
buildah push -q "$image" "oci-archive:$work/image.tar"
container=$(buildah from --pull-never "$image")
size=$(du -sm "$(buildah mount "$container")" | cut -f1)
echo "$size MB, $(($(stat -c %s "$work/image.tar") / 1000000)) MB to push"
[ -n "$baked" ] || [ "$size" -lt $most_mb ] || { echo "the image has $size MB; it must stay below $most_mb" >&2; exit 1; }

# The stages' contract, as Cloud Run gives it; the last one first.
place=(--volume "$model:/model.gguf:ro" --env MODEL_DIR=/model.gguf)
[ -z "$baked" ] || place=(--env MODEL_DIR=/model/model.gguf)
for stage in c b a; do
  next=()
  [ $stage = c ] || next=(--env "NEXT_ENDPOINT=127.0.0.1:$((port + 1))")
  [ $stage != b ] || next=(--env "NEXT_ENDPOINT=127.0.0.1:$((port + 2))")
  offset=$(($(printf %d "'$stage") - 97))
  buildah run --user 65532:65532 "${place[@]}" --env STAGE=$stage --env K1=10 --env K2=20 --env DEVICE=cpu \
    --env PORT=$((port + offset)) "${next[@]}" "$container" -- /usr/bin/commissure stage >"$work/$stage.log" 2>&1 &
  pids+=($!)
done
question='{"messages": [{"role": "user", "content": "What is the capital of France?"}], "max_tokens": 16, "temperature": 0}'
for _ in $(seq 120); do
  answer=$(curl -fsS --noproxy '*' "http://127.0.0.1:$port/v1/chat/completions" -H 'Content-Type: application/json' -d "$question" 2>"$work/curl") && break
  sleep 0.5
done
[ -n "${answer:-}" ] || { tail -n 3 "$work"/*.log "$work/curl" >&2; exit 1; }
python3 -c 'import json, sys; print("answer:", json.loads(sys.argv[1])["choices"][0]["message"]["content"])' "$answer"
