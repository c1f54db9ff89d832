#pragma once

#include <string>

#include "core/result.h"
#include "terminal/program_call.h"

namespace commissure {

/// The first of docker, podman and buildah that is installed and answers on this machine. Errors: kNotFound, none is
/// installed; kUnavailable, none of those that are answers, as Docker's command without its daemon; kCancelled.
Result<std::string> find_image_builder(const ProgramRunner& run);

}  // namespace commissure
