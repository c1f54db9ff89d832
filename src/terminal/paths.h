#pragma once

#include <filesystem>

#include "core/result.h"

namespace commissure {

/// Where downloaded models are kept: $COMMISSURE_CACHE, else $XDG_CACHE_HOME/commissure, else ~/.cache/commissure.
std::filesystem::path cache_dir();

/// Errors: kPermissionDenied, the cache is the one in /tmp and somebody else made it or may write there.
Status check_cache_dir();

/// Where local chains' sockets, logs and states lie while they run: $COMMISSURE_RUN_DIR, else
/// $XDG_RUNTIME_DIR/commissure, else /tmp/commissure-UID.
std::filesystem::path run_dir();

/// The running program itself.
std::filesystem::path own_executable();

}  // namespace commissure
