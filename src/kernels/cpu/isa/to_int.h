#pragma once

#include <cstdint>
#include <limits>

namespace commissure::cpu {

/// `x` without its fraction; the lowest int for NaN and for what does not fit, as x86's own conversion gives (C++
/// leaves it undefined, and weights and inputs may hold anything).
inline std::int32_t to_int(float x) {
  return x >= -0x1p31f && x < 0x1p31f ? static_cast<std::int32_t>(x) : std::numeric_limits<std::int32_t>::min();
}

}  // namespace commissure::cpu
