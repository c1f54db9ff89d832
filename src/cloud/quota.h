#pragma once

#include <string>
#include <vector>

#include "cloud/state.h"
#include "core/result.h"
#include "deployment/cloud_spec.h"

namespace commissure {

/// Names of the GPU quotas that a deployment draws on; empty without GPUs.
std::vector<std::string> gpu_quotas(const CloudSpec& spec);

/// The questions for what these quotas allow. Where no answer comes nothing stops: the deployment itself will tell.
std::vector<CloudRead> quota_reads(const CloudSpec& spec);

/// Whether the region's quotas allow every stage its GPU at the same time, as far as they are known.
/// Errors: kResourceExhausted, naming the quota, what is needed, what is allowed and how to get more.
Status check_gpu_quota(const CloudSpec& spec, const CloudState& state);

}  // namespace commissure
