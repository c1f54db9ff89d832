#pragma once

#include <string>
#include <string_view>

#include "core/json.h"

namespace commissure::testing {

/// base64url without padding.
std::string base64url(std::string_view bytes);

/// A token with these claims and, for a signature, what Google's front end leaves of one.
std::string unsigned_token(const Json& claims);

}  // namespace commissure::testing
