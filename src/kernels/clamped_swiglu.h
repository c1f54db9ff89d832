#pragma once

namespace commissure {

/// Of Activation::kClampedSwiglu (backend.h). This header meets compilers with wider instruction sets, hence no std.
inline constexpr float kSwigluAlpha = 1.702f;
inline constexpr float kSwigluLimit = 7.0f;

}  // namespace commissure
