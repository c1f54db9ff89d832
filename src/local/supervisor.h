#pragma once

#include <string>

#include "core/result.h"

namespace commissure {

/// Starts every stage that the chain's state file names and that does not run, and from then on each stage that dies:
/// at once at first, then after growing pauses, until RestartPolicy gives it up. How a stage died goes into the state
/// file. Returns after a stop signal, and when the chain was taken down or has another supervisor; the stages go on
/// running. Errors: kNotFound, there is no chain of this name; kResourceExhausted, a process or the state file could
/// not be made, and the stages that this call had started are ended again.
Status run_supervisor(const std::string& name);

}  // namespace commissure
