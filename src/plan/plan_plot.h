#pragma once

#include <string>

#include "plan/plan_making.h"

namespace commissure {

/// An SVG picture of a plan: what fills each stage's memory, and what each alternative costs a month by the tokens it
/// computes a day, when instances are up only while they work. A line ends where the chain is busy all day.
std::string plan_svg(const Planning& planning);

}  // namespace commissure
