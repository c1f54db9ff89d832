#pragma once

#include "core/result.h"
#include "serve/stage_settings.h"

namespace commissure {

/// Builds one stage process out of the rooms, connects it and serves until SIGTERM or SIGINT; then drains within the
/// platform's grace (10 s) and returns.
/// Errors: whatever keeps the stage from serving (the model, the port, a flag), in one line for people.
Status run_stage(const StageSettings& settings);

}  // namespace commissure
