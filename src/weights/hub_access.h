#pragma once

#include <string>
#include <string_view>

namespace commissure {

/// The hub that models come from, and the token that may read gated models.
struct HubAccess {
  std::string endpoint;  ///< HF_ENDPOINT without a slash at its end, or the public hub
  std::string token;     ///< HF_TOKEN or HUGGING_FACE_HUB_TOKEN; never shown

  static HubAccess from_environment();

  /// The value of an Authorization header for the hub's own addresses; "" for all others, and without a token.
  std::string authorization(std::string_view url) const;
};

}  // namespace commissure
