#include "cloud/secrets.h"

namespace commissure {

CloudSecrets read_secrets(const Environment& environment) {
  const auto token = environment("HF_TOKEN");
  return {token ? *token : environment("HUGGING_FACE_HUB_TOKEN").value_or(""),
          environment("COMMISSURE_API_KEY").value_or("")};
}

}  // namespace commissure
