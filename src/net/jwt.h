#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "core/json.h"
#include "core/result.h"

namespace commissure {

/// A JSON Web Token taken apart; only its form is checked (RFC 7515, compact).
struct Jwt {
  std::string algorithm;  ///< "RS256"
  std::string key_id;     ///< may be empty
  Json claims;
  std::string signed_part;  ///< header and payload as they are signed
  std::string signature;    ///< decoded bytes

  /// A claim that is text, else "".
  std::string text(std::string_view claim) const;
  /// When the token expires (the claim "exp"); nothing without that claim.
  std::optional<std::chrono::system_clock::time_point> expires() const;
};

/// Errors: kInvalidArgument; the message never holds a part of the token.
Result<Jwt> parse_jwt(std::string_view token);

/// The bytes of base64url text without padding (RFC 4648, section 5). Errors: kInvalidArgument.
Result<std::string> decode_base64url(std::string_view text);

}  // namespace commissure
