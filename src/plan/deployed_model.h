#pragma once

#include "core/result.h"
#include "deployment/deployed_model.h"

namespace commissure {

/// A ModelFinder: weights summed or listed, cuts planned, and what the file's chain costs. Errors: as plan_weights and
/// choose_cuts_of; a price that cannot be told is no error.
Result<DeployedModel> find_deployed_model(const CloudFile& file, bool priced);

}  // namespace commissure
