#pragma once

#include <functional>
#include <string_view>

#include "core/result.h"
#include "deploy/cloud_call.h"

namespace commissure {

/// Told while a program runs: a new line of its standard error, or an empty one about five times a second.
using CallTick = std::function<void(std::string_view line)>;

/// Runs a program to its end and collects what it prints. Its input lies in memory, never in a file. SIGINT and SIGTERM
/// end the program and then this call, if `watch_for_stop` was called. Errors: as CallRunner. Threading: any thread.
Result<CloudAnswer> run_captured(const CloudCall& call, const CallTick& tick = {});

/// From here on SIGINT and SIGTERM no longer end this process: they end running calls, and later ones are refused.
void watch_for_stop();

}  // namespace commissure
