#pragma once

#include <functional>

#include "core/environment.h"
#include "core/result.h"
#include "deployment/deployed_model.h"
#include "terminal/program_call.h"

namespace commissure {

/// What this room needs from outside; the command that calls it hands it in.
struct CloudOutside {
  Environment environment;  ///< the person's: secrets, tokens, variables of the file
  /// Makes one call, as a ProgramRunner does; `tick` hears of its progress.
  std::function<Result<ProgramAnswer>(const ProgramCall& call, const CallTick& tick)> run;
  ModelFinder find_model;

  /// `run` for those who show nothing. This outlives it.
  ProgramRunner quiet() const {
    return [this](const ProgramCall& call) { return run(call, {}); };
  }
};

}  // namespace commissure
