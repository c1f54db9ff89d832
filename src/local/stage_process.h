#pragma once

#include <string>

#include "core/result.h"
#include "local/local_state.h"
#include "terminal/subprocess.h"

namespace commissure {

/// The call of `commissure stage` for the stage with this index (0 is A): arguments, environment and log file.
SubprocessOptions stage_command(const LocalChainOptions& chain, int index);

/// Starts the process of one stage. Errors: as start_process.
Result<ProcessId> start_stage(const LocalChainOptions& chain, int index);

/// The path of a stage's log file.
std::string stage_log(const LocalChainOptions& chain, int index);

/// The path of the socket that stage `index` (1 and up) of a local chain listens on.
std::string stage_socket(const std::string& chain_name, int index);

/// The name of the stage with this index: "a" for 0, "b" for 1.
std::string stage_letter(int index);

}  // namespace commissure
