#pragma once

#include "core/result.h"

namespace commissure {

/// From here on SIGINT, SIGTERM and SIGHUP do not end the program; stop_signal() tells of them.
void catch_stop_signals();

/// The last of those signals that came, 0 if none did. Threading: any thread.
int stop_signal();

/// From here on it is as if none had come: for what has to be put in order at the end.
void forget_stop_signal();

/// Errors: kCancelled once one of them has come, for work that the same command goes on with.
Status check_stopped();

}  // namespace commissure
