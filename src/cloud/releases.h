#pragma once

#include <string>

#include "cloud/state.h"
#include "cloud/steps.h"
#include "deployment/cloud_spec.h"

namespace commissure {

/// Numbers of instances to set; negative leaves one as it is.
struct ScaleWish {
  std::string letter;  ///< one stage, or "" for all
  int min_instances = -1;
  int max_instances = -1;
};

/// Sets the wished numbers where they differ. `min` changes without a new revision, `max` makes one.
/// Errors: kNotFound, no such stage, or it is not deployed; kInvalidArgument, more instances kept than allowed.
Result<CloudStep> scale_step(const CloudSpec& spec, const CloudState& state, const ScaleWish& wish);

/// Lists the revisions of every stage.
ProgramCall revisions_call(const CloudSpec& spec);

/// Sends every stage's traffic, last stage first, to the newest release before the serving one that all stages have.
/// `revisions` is what `revisions_call` prints. Errors: kNotFound, there is none.
Result<CloudStep> rollback_step(const CloudSpec& spec, const CloudState& state, const Json& revisions);

}  // namespace commissure
