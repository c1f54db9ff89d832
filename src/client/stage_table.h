#pragma once

#include <string>
#include <vector>

#include "core/json.h"
#include "core/result.h"

namespace commissure {

/// One line of a stage for people: "stage b  layers 10-19  32.1 MB  ready in 0.05 s  avx2, KV bf16". `info` is one
/// element of /stages.
std::string stage_line(const Json& info);

/// "ready", "loading 43%".
std::string stage_state(const Json& info);

/// All of /stages, a line each under a header and within 80 columns; problems below their stage.
std::string stage_table(const Json& stages);

}  // namespace commissure
