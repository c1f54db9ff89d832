#pragma once

#include <signal.h>

#include <chrono>
#include <functional>

#include "core/result.h"

namespace commissure {

/// SIGTERM and SIGINT, which end a stage; blocked in all threads.
sigset_t end_signals();

/// Waits for one of `signals`, which are blocked; returns its number. Where `health` is set, it is asked every
/// `interval` on this thread, and its first error ends the wait.
Result<int> await_signal(const sigset_t& signals, const std::function<Status()>& health,
                         std::chrono::milliseconds interval);

}  // namespace commissure
