#pragma once

#include <cstdint>

#include "core/result.h"

/// Ranges of what files say of an image encoder.
namespace commissure {

/// Far above every published encoder, and low enough that no product of two passes an int.
inline constexpr std::int64_t kMaxImageSize = 4096;
inline constexpr std::int64_t kMaxPatches = 1 << 16;
inline constexpr std::int64_t kMaxVisionLayers = 256;
inline constexpr std::int64_t kMaxVisionWidth = 1 << 15;

/// Errors: kInvalidArgument, naming the field, its value and the range, as all here.
inline Status check_vision_range(const char* name, std::int64_t value, std::int64_t most) {
  if (value >= 1 && value <= most) return {};
  return Error(Code::kInvalidArgument, name, " is ", value, ", must be 1 to ", most);
}

/// `a` divides `b`, and is not 0.
inline Status check_vision_part(const char* part, std::int64_t a, const char* whole, std::int64_t b) {
  if (b % a == 0) return {};
  return Error(Code::kInvalidArgument, whole, " is ", b, ", which is no multiple of ", part, ", ", a);
}

inline Status check_vision_eps(const char* name, double eps) {
  if (eps > 0.0 && eps < 1.0) return {};
  return Error(Code::kInvalidArgument, name, " is ", eps, ", must be above 0 and below 1");
}

}  // namespace commissure
