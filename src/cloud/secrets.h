#pragma once

#include <string>

#include "core/environment.h"

namespace commissure {

/// What a person does to hand a token of the hub to a deployment.
inline constexpr const char* kTokenHint = "export HF_TOKEN=... (https://huggingface.co/settings/tokens)";

/// What the person's environment holds for the secrets; "" when it does not. Never shown.
struct CloudSecrets {
  std::string hub_token;
  std::string api_key;
};

/// HF_TOKEN (or HUGGING_FACE_HUB_TOKEN) and COMMISSURE_API_KEY.
CloudSecrets read_secrets(const Environment& environment);

}  // namespace commissure
