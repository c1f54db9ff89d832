#pragma once

#include <memory>
#include <string>

#include "core/result.h"
#include "weights/checkpoint.h"

namespace commissure {

/// Whether a model lies on the hub, behind a URL or in a bucket.
bool is_remote_model(const std::string& model);

/// Opens a model for its header and nothing else, wherever `commissure.yaml` may name one: a file, folder or known name
/// of this machine (pulled now where `may_pull`), hf:OWNER/REPO at `revision` ("" is main), a URL, a gs:// location
/// (with gcloud's token where the environment has none). Errors: as resolve_model, find_on_hub and Checkpoint::open.
Result<std::unique_ptr<Checkpoint>> open_header(const std::string& model, const std::string& revision, bool may_pull);

}  // namespace commissure
