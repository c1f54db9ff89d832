#pragma once

#include "core/json.h"
#include "plan/plan_making.h"

namespace commissure {

/// Tables for people, on standard output.
void print_plans(const Planning& planning);

Json plans_json(const Planning& planning);

}  // namespace commissure
