#include "sample/reduce.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

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

/// The first of whole groups of lanes that holds a value of at least `floor`, as the index of its first lane; n if
/// none.
COMMISSURE_CLONES std::size_t lane_find(const float* values, std::size_t n, float floor) {
  for (std::size_t i = 0; i < n; i += kLanes) {
    int any = 0;
    for (std::size_t lane = 0; lane < kLanes; ++lane) any |= values[i + lane] >= floor ? 1 : 0;
    if (any != 0) return i;
  }
  return n;
}

/// Short float runs, then double: little rounding, full vector width.
constexpr std::size_t kRun = 256;

COMMISSURE_CLONES double lane_sum_exp(const float* values, std::size_t n, float max, float scale) {
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

std::size_t find_at_least(std::span<const float> values, std::size_t first, float floor) {
  const auto scan = [&](std::size_t last) {
    for (; first < last && !(values[first] >= floor); ++first) {
    }
    return first < last;
  };
  // Neighbours first: where many are wanted the next one is near.
  if (scan(std::min(values.size(), (first / kLanes + 1) * kLanes))) return first;
  first += lane_find(values.data() + first, (values.size() - first) / kLanes * kLanes, floor);
  scan(values.size());
  return first;
}

double sum_exp(std::span<const float> values, float max, float scale) {
  const std::size_t n_lanes = values.size() / kLanes * kLanes;
  double total = lane_sum_exp(values.data(), n_lanes, max, scale);
  for (std::size_t i = n_lanes; i < values.size(); ++i) total += double{exp_poly((values[i] - max) * scale)};
  return total;
}

std::int32_t pick_by_weight(std::span<const float> values, double share) {
  constexpr std::size_t kStretch = kRun * kLanes;
  const auto stretch_at = [&](std::size_t first) {
    return values.subspan(first, std::min(kStretch, values.size() - first));
  };
  std::vector<double> sums;
  for (std::size_t first = 0; first < values.size(); first += kStretch) {
    sums.push_back(sum_exp(stretch_at(first), 0.0f, 1.0f));
  }
  const double aim = share * std::accumulate(sums.begin(), sums.end(), 0.0);
  double passed = 0.0;
  std::size_t stretch = 0, heavy = 0;
  for (; stretch < sums.size() && aim >= passed + sums[stretch]; passed += sums[stretch++]) {
    if (sums[stretch] > 0.0) heavy = stretch;
  }
  if (stretch == sums.size()) passed -= sums[stretch = heavy];  // rounding: it falls on the last token that weighs
  const std::size_t first = stretch * kStretch;
  std::size_t found = first;
  for (std::size_t token = first; token < first + stretch_at(first).size(); ++token) {
    const auto weight = double{exp_poly(values[token])};
    if (weight == 0.0) continue;
    found = token;
    passed += weight;
    if (aim < passed) break;
  }
  return static_cast<std::int32_t>(found);
}

}  // namespace commissure
