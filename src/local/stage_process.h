#pragma once

#include <string>

#include "core/result.h"
#include "local/local_state.h"
#include "terminal/subprocess.h"

namespace commissure {

/// How stage `index` of a chain is started.
SubprocessOptions stage_command(const LocalChainOptions& chain, int index);

/// Starts it. Errors: as start_process.
Result<ProcessId> start_stage(const LocalChainOptions& chain, int index);

/// The log of stage `index`.
std::string stage_log(const LocalChainOptions& chain, int index);

/// The path of the socket that stage `index` (1 and up) of a local chain listens on.
std::string stage_socket(const std::string& chain_name, int index);

/// "a" of 0.
std::string stage_letter(int index);

}  // namespace commissure
