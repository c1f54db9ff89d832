#pragma once

#include "apps/plan_making.h"
#include "core/json.h"

namespace commissure {

/// Tables for people, on standard output.
void print_plans(const Planning& planning);

Json plans_json(const Planning& planning);

}  // namespace commissure
