#pragma once

#include "core/result.h"
#include "kernels/devices.h"
#include "serve/stage_settings.h"

namespace commissure {

/// Builds one stage process out of the rooms, on the device of its settings, connects it and serves until SIGTERM or
/// SIGINT; then drains within the platform's grace (10 s) and returns. The signals are blocked before, in all threads
/// (block_end_signals).
/// Errors: whatever keeps the stage from serving (the model, the port, a flag), in one line for people.
Status run_stage(const StageSettings& settings, ChosenDevice device);

}  // namespace commissure
