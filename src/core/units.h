#pragma once

namespace commissure {

inline constexpr double kGiga = 1e9;
inline constexpr double kGib = 1024.0 * 1024 * 1024;
inline constexpr double kHoursPerMonth = 730;

}  // namespace commissure
