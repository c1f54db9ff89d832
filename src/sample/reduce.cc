#include "sample/reduce.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

// Loops over a vocabulary of 262,144 values run once per token. They are written in lanes, so that the compiler
// vectorises them without being allowed to reorder sums; the clones differ in width only, not in result.
#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define COMMISSURE_CLONES __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#else
#define COMMISSURE_CLONES
#endif

namespace commissure {
namespace {

constexpr std::size_t kLanes = 16;

/// exp by 2^n * p(r), |r| <= ln2/2, p of degree 6. Source: Cephes expf (Moshier), coefficients from there.
inline float exp_poly(float x) {
  constexpr float kLog2e = 1.44269504f;
  constexpr float kLn2High = 0.693359375f;
  constexpr float kLn2Low = -2.12194440e-4f;
  constexpr float kRounder = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const float clamped = x < -87.0f ? -87.0f : x;
  const float shifted = clamped * kLog2e + kRounder;
  const float n = shifted - kRounder;
  const float r = (clamped - n * kLn2High) - n * kLn2Low;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const auto exponent = (std::bit_cast<std::int32_t>(shifted) - std::bit_cast<std::int32_t>(kRounder)) << 23;
  const float scaled = std::bit_cast<float>(std::bit_cast<std::int32_t>(p) + exponent);
  return x < -87.0f ? 0.0f : scaled;
}

COMMISSURE_CLONES float lane_maximum(const float* values, std::size_t n, int* unsound) {
  float best[kLanes];
  int bad[kLanes] = {};
  for (float& lane : best) lane = -std::numeric_limits<float>::infinity();
  for (std::size_t i = 0; i < n; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const float value = values[i + lane];
      bad[lane] |= value <= std::numeric_limits<float>::max() ? 0 : 1;  // NaN and +infinity fail this
      best[lane] = value > best[lane] ? value : best[lane];
    }
  }
  float max = best[0];
  for (std::size_t lane = 1; lane < kLanes; ++lane) max = std::max(max, best[lane]);
  for (const int lane : bad) *unsound |= lane;
  return max;
}

COMMISSURE_CLONES double lane_sum_exp(const float* values, std::size_t n, float max, float scale) {
  constexpr std::size_t kRun = 256;  // short float runs, then double: little rounding, full vector width
  double total = 0.0;
  for (std::size_t first = 0; first < n; first += kRun * kLanes) {
    const std::size_t last = std::min(n, first + kRun * kLanes);
    float sum[kLanes] = {};
    for (std::size_t i = first; i < last; i += kLanes) {
      for (std::size_t lane = 0; lane < kLanes; ++lane) sum[lane] += exp_poly((values[i + lane] - max) * scale);
    }
    double run = 0.0;
    for (const float lane : sum) run += double{lane};
    total += run;
  }
  return total;
}

}  // namespace

float exp_negative(float x) { return exp_poly(x); }

Maximum find_maximum(std::span<const float> values) {
  Maximum result{-std::numeric_limits<float>::infinity(), -1, true};
  const std::size_t n_lanes = values.size() / kLanes * kLanes;
  int unsound = 0;
  result.value = lane_maximum(values.data(), n_lanes, &unsound);
  for (std::size_t i = n_lanes; i < values.size(); ++i) {
    unsound |= values[i] <= std::numeric_limits<float>::max() ? 0 : 1;
    result.value = std::max(result.value, values[i]);
  }
  result.is_sound = unsound == 0;
  const auto first = std::find(values.begin(), values.end(), result.value);
  if (first != values.end()) result.index = static_cast<std::int32_t>(first - values.begin());
  return result;
}

double sum_exp(std::span<const float> values, float max, float scale) {
  const std::size_t n_lanes = values.size() / kLanes * kLanes;
  double total = lane_sum_exp(values.data(), n_lanes, max, scale);
  for (std::size_t i = n_lanes; i < values.size(); ++i) total += double{exp_poly((values[i] - max) * scale)};
  return total;
}

}  // namespace commissure
