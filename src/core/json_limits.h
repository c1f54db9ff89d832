#pragma once

#include <cstddef>
#include <string_view>

#include "core/json.h"

namespace commissure {

/// How many values texts of a stranger may still hold. A value takes up to a hundred times its text, so a bound of
/// bytes alone would not bound memory.
struct JsonAllowance {
  static constexpr std::size_t kMaxItems = 1 << 20;
  static constexpr std::size_t kMaxOthers = 128 << 10;

  std::size_t items = kMaxItems;    ///< numbers, true, false and null that stand in arrays: 16 bytes each
  std::size_t others = kMaxOthers;  ///< members of objects, and texts, arrays and objects wherever they stand
};

/// As parse_json, and takes the values from `allowance`, which several texts may share.
/// Errors: as parse_json; kResourceExhausted, the text holds more: "holds more than ...; ...".
Result<Json> parse_json_within(std::string_view text, JsonAllowance& allowance);

}  // namespace commissure
