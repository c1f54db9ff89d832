#pragma once

#include "core/result.h"

namespace commissure {

/// From here on SIGINT, SIGTERM and SIGHUP do not end the program; stop_signal() tells of them.
void catch_stop_signals();

/// The last of those signals that came, 0 if none did. Threading: any thread.
int stop_signal();

/// Forgets a stop signal that came, so that work which puts things in order afterwards can run.
void forget_stop_signal();

/// Errors: kCancelled once a stop signal has come. The message says that the same command goes on from here, so this is
/// for work that can be resumed.
Status check_stopped();

}  // namespace commissure
