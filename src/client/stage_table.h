#pragma once

#include <string>
#include <vector>

#include "core/json.h"
#include "core/result.h"

namespace commissure {

/// A stage in one line: "stage b  layers 10-19  32.1 MB  ready in 0.05 s  avx2, KV bf16". `info` is one element of the
/// array "stages" in /health; members that it lacks are left out.
std::string stage_line(const Json& info);

/// The state of one stage in words: "ready", "cold", "loading 43%".
std::string stage_state(const Json& info);

/// The array "stages" of /health as a table: a header, then a line of at most 80 columns for each stage. A stage's
/// problem stands in the line below it.
std::string stage_table(const Json& stages);

}  // namespace commissure
