#pragma once

#include <memory>
#include <string>

#include "core/result.h"
#include "weights/checkpoint.h"

namespace commissure {

/// Whether a model lies on the hub, behind a URL or in a bucket.
bool is_remote_model(const std::string& model);

/// Opens a model to read its header; no weights are read.
///   model     as `commissure.yaml` names models: a file or folder, a known name, hf:OWNER/REPO, a URL, or a gs://
///             location (read with gcloud's token where the environment has none)
///   revision  of hf: names; "" is main
///   may_pull  a known model that is not in the cache is downloaded now
/// Errors: as resolve_model, find_on_hub and Checkpoint::open.
Result<std::unique_ptr<Checkpoint>> open_header(const std::string& model, const std::string& revision, bool may_pull);

}  // namespace commissure
