#pragma once

#include <filesystem>

namespace commissure {

/// Where downloaded models are kept: $COMMISSURE_CACHE, else $XDG_CACHE_HOME/commissure, else ~/.cache/commissure.
std::filesystem::path cache_dir();

/// Where a local chain's sockets, logs and state lie while it runs: $COMMISSURE_RUN_DIR, else
/// $XDG_RUNTIME_DIR/commissure, else /tmp/commissure-UID.
std::filesystem::path run_dir();

/// The running program itself.
std::filesystem::path own_executable();

}  // namespace commissure
