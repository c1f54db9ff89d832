#pragma once

#include "core/result.h"
#include "terminal/program_call.h"

namespace commissure {

/// Runs a program to its end and collects what it prints. Its input lies in memory, never in a file. A signal to stop
/// (stop_signal.h) ends the program and then this call; later calls are refused. Errors: as ProgramRunner. Threading:
/// any thread.
Result<ProgramAnswer> run_captured(const ProgramCall& call, const CallTick& tick = {});

}  // namespace commissure
