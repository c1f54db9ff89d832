#pragma once

#include "core/result.h"
#include "terminal/program_call.h"

namespace commissure {

/// Runs a program to its end and collects what it prints. The program's input is kept in memory, never in a file. A
/// stop signal (stop_signal.h) ends the program and then this call; calls after it are refused.
///   tick  told while the program runs, as CallTick says; may be empty
/// Errors: as ProgramRunner. Threading: any thread.
Result<ProgramAnswer> run_captured(const ProgramCall& call, const CallTick& tick = {});

}  // namespace commissure
