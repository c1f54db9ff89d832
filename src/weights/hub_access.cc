#include "weights/hub_access.h"

#include <cstdlib>

namespace commissure {

namespace {

std::string variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

HubAccess HubAccess::from_environment() {
  HubAccess access{variable("HF_ENDPOINT"), variable("HF_TOKEN")};
  if (access.endpoint.empty()) access.endpoint = "https://huggingface.co";
  while (access.endpoint.ends_with('/')) access.endpoint.pop_back();
  if (access.token.empty()) access.token = variable("HUGGING_FACE_HUB_TOKEN");
  return access;
}

std::string HubAccess::authorization(std::string_view url) const {
  return token.empty() || !url.starts_with(endpoint + "/") ? "" : "Bearer " + token;
}

}  // namespace commissure
