#pragma once

#include <string>

#include "core/result.h"
#include "deployment/cloud_file.h"
#include "deployment/cloud_spec.h"
#include "deployment/deployed_model.h"

namespace commissure {

/// Names and access only: enough to find, watch and remove a deployment. Reads no model.
CloudSpec names_of(const CloudFile& file);

/// A deployment as written and as planned.
struct CloudTarget {
  CloudSpec spec;                 ///< all of it: weights summed, cuts planned, the image named
  Result<DeploymentPrice> price;  ///< kCancelled where it was not asked for
};

/// The image's tag is taken from the source tree `source` ("" to find it). Errors: as check_limits, `find_model`,
/// find_source_tree and validate.
Result<CloudTarget> plan_target(const CloudFile& file, const std::string& source, const ModelFinder& find_model,
                                bool priced);

}  // namespace commissure
