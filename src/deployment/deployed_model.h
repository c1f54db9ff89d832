#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/result.h"
#include "deployment/cloud_file.h"
#include "deployment/cloud_spec.h"

namespace commissure {

/// What a deployment costs while all its stages are up, and whether they hold the model.
struct DeploymentPrice {
  double usd_per_hour = 0;
  double cold_start_seconds = 0;
  std::string problem = {};  ///< why the stages will not do, and what would; "" when they will
};

/// What commissure.yaml leaves to the model that it names.
struct DeployedModel {
  CloudWeights weights;
  std::vector<int> cuts;          ///< as written, or chosen
  std::string name;               ///< of the model itself
  std::string precision;          ///< that the catalogue of models advises for it; "": nothing
  Result<DeploymentPrice> price;  ///< kCancelled where it was not asked for
};

/// Finds the model of `file` on this machine, or by the header of one that lies elsewhere; `priced`: with its price.
using ModelFinder = std::function<Result<DeployedModel>(const CloudFile& file, bool priced)>;

}  // namespace commissure
