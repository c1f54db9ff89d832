#pragma once

#include <cstdint>
#include <span>

namespace commissure {

/// The largest value, its lowest index, and whether all values were finite or -infinity.
struct Maximum {
  float value = 0.0f;
  std::int32_t index = -1;
  bool is_sound = true;
};
Maximum find_maximum(std::span<const float> values);

/// The first index from `first` on whose value is at least `floor`; values.size() if there is none.
std::size_t find_at_least(std::span<const float> values, std::size_t first, float floor);

/// sum of exp((values[i] - max) * scale), in a fixed order: the same bits on every machine.
double sum_exp(std::span<const float> values, float max, float scale);

/// The index at which exp(values[i]), added up from index 0 on, passes `share` (in [0, 1)) of the whole sum. All values
/// are at most 0 and at least one is 0. The same index on every machine.
std::int32_t pick_by_weight(std::span<const float> values, double share);

/// exp for x <= 0 within 2 ulp; below -87 it is 0. The same bits on every machine, unlike libm's.
float exp_negative(float x);

}  // namespace commissure
