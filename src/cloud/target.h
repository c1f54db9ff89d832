#pragma once

#include <optional>
#include <string>

#include "cloud/steps.h"
#include "core/result.h"
#include "deployment/cloud_choice.h"
#include "deployment/cloud_spec.h"
#include "weights/checkpoint.h"

namespace commissure {

/// Names and access only: enough to find, watch and remove a deployment. Reads no model. Errors: as the file's reader.
Result<CloudSpec> read_cloud_names(const CloudChoice& choice);

/// All of it: weights summed, cuts planned, the image's tag taken from the source tree `source` ("" to find it).
/// `header` as above.
Result<CloudSpec> read_cloud_spec(const CloudChoice& choice, const std::string& source,
                                  const Checkpoint* header = nullptr);

/// HF_TOKEN (or HUGGING_FACE_HUB_TOKEN) and COMMISSURE_API_KEY.
CloudSecrets secrets_of_environment();

}  // namespace commissure
