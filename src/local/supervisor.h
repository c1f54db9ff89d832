#pragma once

#include <string>

#include "core/result.h"

namespace commissure {

/// Starts the stages that the chain's state file names and are not there, and from then on each one that dies, with
/// growing pauses, until it keeps dying. Why a stage died last goes into the state file. Returns after a stop signal,
/// or when the chain is gone or has another supervisor; stages are left running.
/// Errors: kNotFound, there is no such chain; kResourceExhausted, a process or the state file could not be made, and
/// what was started is ended again.
Status run_supervisor(const std::string& name);

}  // namespace commissure
