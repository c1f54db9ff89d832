#pragma once

#include <string>

#include "cloud/steps.h"
#include "deployment/cloud_spec.h"
#include "terminal/gcloud.h"

namespace commissure {

/// Why a call of a step failed and what mends it, on one line: "step bucket: CAUSE; FIX".
Error explain_failure(const CloudSpec& spec, const CloudStep& step, const ProgramCall& call,
                      const ProgramAnswer& answer);

/// Whether the same call may succeed a little later: an account or a policy that is too new to be known everywhere.
bool passes_with_time(const ProgramAnswer& answer);

/// Whether a deployment went well but for who may call the service: gcloud only warns of that.
bool leaves_policy_unset(const ProgramAnswer& answer);

/// Whether an API is not enabled yet, as it is for up to minutes after it was.
bool says_disabled(const ProgramAnswer& answer);

/// Whether the answer says that the asked thing does not exist.
bool says_absent(const ProgramAnswer& answer);

}  // namespace commissure
