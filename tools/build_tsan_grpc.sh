#!/usr/bin/env bash
# Builds the gRPC and Abseil of Debian 12 once more, with ThreadSanitizer, into the user's cache: a quarter of an hour of
# one core. `make test-tsan` then runs wire's tests too. They are the same versions, so a program that is linked with
# Debian's libraries runs with these when LD_LIBRARY_PATH names them.
# usage: tools/build_tsan_grpc.sh [--where]   --where: says where they lie; fails when they are not built
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
version=$(dpkg-query -W -f '${source:Version}' libgrpc++1.51 2>/dev/null) || version=unknown
target=${XDG_CACHE_HOME:-$HOME/.cache}/commissure/tsan/grpc-$version
if [ "${1:-}" = --where ]; then
  [ -e "$target/libgrpc++.so.1.51" ] || exit 1
  echo "$target"
  exit 0
fi
[ "$version" != unknown ] || { echo "needs Debian 12's libgrpc++1.51" >&2; exit 1; }
"$here/install_packages.sh" build tsan

work=${TSAN_GRPC_WORK:-$(mktemp -d)}  # one that is named is kept, and the build goes on where it ended
[ -n "${TSAN_GRPC_WORK:-}" ] || trap 'rm -rf "$work"' EXIT
mkdir -p "$work/parts" "$work/lists/partial"
chmod go+rx "$work"
cd "$work"

# The sources come from where the packages came from, without a change to the system's own lists.
for list in /etc/apt/sources.list.d/*.sources; do
  [ ! -e "$list" ] || sed 's/^Types:.*/Types: deb-src/' "$list" >"parts/$(basename "$list")"
done
for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
  [ ! -e "$list" ] || sed -n 's/^deb \(.*\)/deb-src \1/p' "$list" >"parts/$(basename "$list" .list).list"
done
cat >apt.conf <<CONF
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$work/parts";
Dir::State::lists "$work/lists";
CONF
export APT_CONFIG=$work/apt.conf
[ -d grpc ] || {
  apt-get update -qq
  apt-get source -qq --only-source "grpc=$version" "abseil=$(dpkg-query -W -f '${source:Version}' libabsl20220623)"
  mv grpc-*/ grpc
  mv abseil-*/ abseil
}

flags="-O1 -g1 -fsanitize=thread -fno-omit-frame-pointer -w"
common=(-G Ninja -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_STANDARD=17 -DBUILD_SHARED_LIBS=ON -DCMAKE_C_FLAGS="$flags"
  -DCMAKE_CXX_FLAGS="$flags" -DCMAKE_SHARED_LINKER_FLAGS=-fsanitize=thread -DCMAKE_SKIP_RPATH=ON)
cmake -S abseil -B abseil-build "${common[@]}" -DBUILD_TESTING=OFF >/dev/null
ninja -C abseil-build -j "${JOBS:-1}"
packages=()
for name in ABSL CARES PROTOBUF RE2 SSL ZLIB; do packages+=("-DgRPC_${name}_PROVIDER=package"); done
# Nine tenths of a file's time go to headers that nearly all of gRPC's files share: they are compiled once.
cat >shared.h <<HEADERS
#include <grpc/support/port_platform.h>
#include <grpc/grpc_security.h>
#include "src/core/lib/channel/channel_stack.h"
#include "src/core/lib/config/core_configuration.h"
#include "src/core/lib/json/json.h"
#include "src/core/lib/security/credentials/credentials.h"
#include "src/core/lib/transport/transport.h"
HEADERS
includes=(-Igrpc/include -Igrpc)
for folder in address_sorting/include re2 upb xxhash; do includes+=("-Igrpc/third_party/$folder"); done
for folder in upb-generated upbdefs-generated; do includes+=("-Igrpc/src/core/ext/$folder"); done
# shellcheck disable=SC2086  # flags are words
g++ $flags -pthread -std=c++17 -fPIC "${includes[@]}" -x c++-header shared.h -o shared.h.gch
# Nothing that is built here links libprotoc, but CMake wants its name.
cmake -S grpc -B grpc-build "${common[@]}" "${packages[@]}" -DgRPC_BUILD_CODEGEN=OFF -DgRPC_INSTALL=OFF \
  -DCMAKE_CXX_FLAGS="$flags -include $work/shared.h" -DProtobuf_PROTOC_LIBRARY=/nonexistent/libprotoc.so >/dev/null
ninja -C grpc-build -j "${JOBS:-1}" grpc++

mkdir -p "$target"
find abseil-build -name 'libabsl_*.so*' -exec cp -a {} "$target/" \;
for library in libaddress_sorting libupb libgpr libgrpc libgrpc++; do cp -a grpc-build/$library.so* "$target/"; done
echo "gRPC with ThreadSanitizer lies in $target"
