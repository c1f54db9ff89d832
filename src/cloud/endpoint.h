#pragma once

#include <string>

#include "client/client.h"
#include "cloud/outside.h"
#include "core/result.h"
#include "deployment/cloud_choice.h"
#include "deployment/cloud_spec.h"

namespace commissure {

/// Stage A at `url`, with the key of the environment and, where access goes by IAM, an identity token: the
/// environment's COMMISSURE_IDENTITY_TOKEN, or one of the person's own account. Errors: as explain_failure.
Result<ApiAddress> address_of(const CloudSpec& spec, const std::string& url, const Environment& environment,
                              const ProgramRunner& run);

/// The endpoint of a deployment, as the cloud tells it. Errors: kNotFound, it is not deployed; as explain_failure.
Result<ApiAddress> find_cloud_api(const CloudChoice& choice, const CloudOutside& outside);

}  // namespace commissure
