#pragma once

#include <string>
#include <string_view>

#include "core/json.h"

namespace commissure {

/// The text of a member; "" when it is absent or no text.
std::string text_of(const Json& object, std::string_view key);

/// The value of a member; 0 when it is absent or no number.
double number_of(const Json& object, std::string_view key);

}  // namespace commissure
