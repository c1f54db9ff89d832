#pragma once

#include <string>

#include "core/json.h"
#include "plan/plan_making.h"

namespace commissure {

/// The plan for people: the chosen chain's stages, the alternatives, and where the numbers come from. Tables have at
/// most 80 columns.
std::string plans_text(const Planning& planning);

/// The plan for programs: bytes, seconds and USD as numbers; `plan` is the chosen chain.
Json plans_json(const Planning& planning);

}  // namespace commissure
