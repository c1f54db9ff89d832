#pragma once

#include <string>

#include "cloud/outside.h"
#include "core/result.h"
#include "deployment/cloud_choice.h"
#include "deployment/cloud_spec.h"

namespace commissure {

/// `status` of a deployment as Cloud Run tells it. Asking the stages themselves would start instances, so that is done
/// only with `live`. Exit status 0: all services ready; 1: not; 3: nothing is deployed.
Result<int> show_cloud_status(const CloudChoice& choice, bool live, bool as_json, const CloudOutside& outside);

struct CloudLogsOptions {
  CloudChoice choice;
  std::string stage;  ///< "" for all
  int n_lines = 40;
  bool follow = false;
};

/// Prints the stages' log entries, oldest first, each with its stage; with `follow` until SIGINT.
Result<int> show_cloud_logs(const CloudLogsOptions& options, const CloudOutside& outside);

/// Whether the region's GPU quotas hold all stages, as Google tells them. Errors: as CloudExecutor::check_quota.
Status check_cloud_quota(const CloudSpec& spec, const CloudOutside& outside);

}  // namespace commissure
