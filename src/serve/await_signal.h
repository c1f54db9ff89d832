#pragma once

#include <signal.h>

#include <chrono>
#include <functional>

#include "core/result.h"

namespace commissure {

/// SIGTERM and SIGINT, which end a stage; blocked in all threads.
sigset_t end_signals();

/// Blocks end_signals() in this thread and in all that it starts. Whoever starts a stage calls it before the first
/// thread: a GPU's driver starts some as soon as it is asked for anything.
void block_end_signals();

/// Waits for one of `signals`, which are blocked; returns its number. Where `health` is set, it is asked every
/// `interval` on this thread, and its first error ends the wait.
Result<int> await_signal(const sigset_t& signals, const std::function<Status()>& health,
                         std::chrono::milliseconds interval);

}  // namespace commissure
