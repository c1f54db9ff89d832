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

/// sum of exp((values[i] - max) * scale), in a fixed order: the same bits on every machine.
double sum_exp(std::span<const float> values, float max, float scale);

/// exp for x <= 0 within 2 ulp; below -87 it is 0. The same bits on every machine, unlike libm's.
float exp_negative(float x);

}  // namespace commissure
