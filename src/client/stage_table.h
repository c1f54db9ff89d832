#pragma once

#include <string>
#include <vector>

#include "core/json.h"
#include "core/result.h"

namespace commissure {

/// One line of a stage for people: "stage b  layers 10-19  32.1 MB  ready in 0.05 s  resident 48.0 MB".
/// `info` is one element of /stages.
std::string stage_line(const Json& info);

}  // namespace commissure
