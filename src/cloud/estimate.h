#pragma once

#include "cloud/steps.h"

namespace commissure {

/// Seconds that a call takes as a rule: by what it does and what it moves. Estimates, good for a first guess only.
double usual_seconds(const ProgramCall& call);
double usual_seconds(const CloudStep& step);

/// How far a step is.
struct StepProgress {
  std::uint64_t bytes_done = 0;  ///< of the calls that have ended
  std::uint64_t bytes_all = 0;   ///< 0: not known
  double bytes_per_second = 0;   ///< measured on the ended calls; 0: none has ended
  double seconds_left = 0;       ///< by that rate, else by how the ended calls kept to what is usual
};

/// `before` seconds went by until call `call` began, which has run for `running` since.
StepProgress step_progress(const CloudStep& step, std::size_t call, double before, double running);

}  // namespace commissure
