#include "kernels/cpu/matmul/screen.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/cpu/matmul/matmul_kernels.h"

namespace commissure::cpu {
namespace {

/// Where in its step of size d a weight lies. Of Q8_0 the upper five bits are kept, so that the other three are 0 to 7
/// eighths of d; floats lie anywhere.
struct Step {
  float centre, reach;
};
Step step_of(DType dtype) { return dtype == DType::kQ8_0 ? Step{3.5f / 8, 3.5f / 8} : Step{0.5f, 0.5f}; }

/// Covers the rounding of all the sums here and in the products: those are of some 2^6 terms one after the other, at
/// most 128 / 3.5 times as large as the reach, with 2^-24 each.
constexpr float kSlack = 1.0f + 1.0f / 128;

void put_quants(const int* q, BlockQ5_0& out) {
  std::uint32_t high = 0;
  for (int i = 0; i < kBlock / 2; ++i) {
    out.qs[i] = static_cast<std::uint8_t>((q[i] & 15) | (q[i + kBlock / 2] & 15) << 4);
  }
  for (int i = 0; i < kBlock; ++i) high |= static_cast<std::uint32_t>(q[i] >> 4) << i;
  std::memcpy(out.qh, &high, sizeof high);
}

bool screen_q8_block(const std::byte* from, BlockQ5_0& out) {
  BlockQ8_0 block;
  std::memcpy(&block, from, sizeof block);
  const float d = 8.0f * half_to_float(block.d);
  out.d = float_to_half(d);
  if (!(d >= 0.0f) || half_to_float(out.d) != d || std::isinf(d)) return false;
  int q[kBlock];
  for (int i = 0; i < kBlock; ++i) q[i] = (block.qs[i] >> 3) + 16;
  put_quants(q, out);
  return true;
}

/// The smallest f16 not below x >= 0; infinite where there is none.
std::uint16_t half_not_below(float x) {
  const std::uint16_t half = float_to_half(x);
  return half_to_float(half) < x ? static_cast<std::uint16_t>(half + 1) : half;
}

bool screen_floats(const float* values, BlockQ5_0& out) {
  float largest = 0.0f, probe = 0.0f;
  for (int i = 0; i < kBlock; ++i) {
    largest = std::max(largest, std::abs(values[i]));
    probe += values[i] - values[i];  // NaN where one is not finite
  }
  if (probe != 0.0f) return false;
  out.d = half_not_below(largest / 16.0f);
  const float d = half_to_float(out.d);
  if (std::isinf(d)) return false;
  int q[kBlock] = {};
  for (int i = 0; i < kBlock && d > 0.0f; ++i) {
    q[i] = std::clamp(static_cast<int>(std::floor(values[i] / d)) + 16, 0, 31);
  }
  put_quants(q, out);
  return true;
}

}  // namespace

bool has_screen(DType dtype) {
  return dtype == DType::kQ8_0 || dtype == DType::kBF16 || dtype == DType::kF16 || dtype == DType::kF32;
}

bool screen_row(DType dtype, const std::byte* row, int n_cols, BlockQ5_0* out) {
  const std::size_t block_bytes = row_bytes(dtype, kBlock);
  for (int b = 0; b < n_cols / kBlock; ++b) {
    const std::byte* block = row + b * block_bytes;
    if (dtype == DType::kQ8_0) {
      if (!screen_q8_block(block, out[b])) return false;
      continue;
    }
    float values[kBlock];
    dequantise(dtype, block, values);
    if (!screen_floats(values, out[b])) return false;
  }
  return true;
}

void pack_bounds(DType dtype, const float* x, std::ptrdiff_t stride, int n_cols, int width, std::byte* packed) {
  const Step step = step_of(dtype);
  for (int c = 0; c < width; ++c) {
    std::byte* block = packed + 4 * c;
    for (int b = 0; b < n_cols / kBlock; ++b, block += kTileBytesPerBlock * width) {
      const float* values = x + c * stride + b * kBlock;
      std::byte* const at_d = block + kBlock * width;
      std::byte* const at_bound = at_d + 4 * width;
      float d, sum, absolute = 0.0f, error = 0.0f, largest = 0.0f;
      std::memcpy(&d, at_d, sizeof d);
      std::memcpy(&sum, at_bound, sizeof sum);
      for (int i = 0; i < kBlock; ++i) {
        const auto q = static_cast<std::int8_t>(block[4 * width * (i / 4) + i % 4]);
        const float rounded = d * static_cast<float>(q);
        absolute += std::abs(rounded);
        error += std::abs(values[i] - rounded);
        largest = std::max(largest, std::abs(values[i] - rounded));
      }
      // A second plane rounds the errors once more, each by at most half of largest / 127.
      error += largest * (16.5f / 127);
      const float bound = step.centre * sum + kSlack * (step.reach * absolute + 16.0f * error);
      std::memcpy(at_bound, &bound, sizeof bound);
    }
  }
}

}  // namespace commissure::cpu
