#pragma once

#include <filesystem>

#include "core/result.h"

namespace commissure {

/// The folder of downloaded models and their locks: $COMMISSURE_CACHE, else $XDG_CACHE_HOME/commissure, else
/// ~/.cache/commissure.
std::filesystem::path cache_dir();

/// Checks that nobody else can put files into the cache. Errors: kPermissionDenied, the cache lies in /tmp (there is no
/// home folder) and another user made it or may write there.
Status check_cache_dir();
/// Makes it where it lies in /tmp, and checks it. Errors: as check_cache_dir, and as the system says.
Status make_cache_dir();

/// The folder of the chains on this machine, with sockets, logs and state files while they run: $COMMISSURE_RUN_DIR,
/// else $XDG_RUNTIME_DIR/commissure, else /tmp/commissure-UID.
std::filesystem::path run_dir();

/// The path of the running program.
std::filesystem::path own_executable();

}  // namespace commissure
