#pragma once

#include <string>

#include "core/result.h"
#include "deployment/cloud_spec.h"

namespace commissure {

/// What `model` of a deployment means for the bucket: a name, file or folder of this machine (opened, or pulled, and
/// summed), "hf:OWNER/REPO", an https:// URL of one file, or "gs://bucket/folder[/file]". `bucket` is the deployment's
/// own. Errors: as resolve_model; kInvalidArgument, not a form that a stage can load.
Result<CloudWeights> plan_weights(const std::string& model, const std::string& revision, const std::string& bucket);

}  // namespace commissure
