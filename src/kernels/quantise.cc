#include "kernels/quantise.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/check.h"
#include "kernels/quant.h"

namespace commissure {
namespace {

constexpr float kMaxHalf = 65504.0f;

/// The largest |x|, or infinity where a value is not finite.
float largest_of(const float* x, int n) {
  float largest = 0.0f, probe = 0.0f;
  for (int i = 0; i < n; ++i) {
    largest = std::max(largest, std::fabs(x[i]));
    probe += x[i] - x[i];  // NaN for an infinity or a NaN
  }
  return probe == 0.0f ? largest : INFINITY;
}

/// std::round of a value within int: halves go away from zero. The library's own is a call for each value.
int rounded(float value) {
  const int whole = static_cast<int>(value);
  const float rest = value - static_cast<float>(whole);
  return whole + static_cast<int>(rest >= 0.5f) - static_cast<int>(rest <= -0.5f);
}

bool quantise_block(const float* x, BlockQ8_0& out) {
  const float d = largest_of(x, 32) / 127.0f;
  if (!(d <= kMaxHalf)) return false;
  out.d = float_to_half(d);
  const float inverse = out.d != 0 ? 1.0f / d : 0.0f;  // else the block is nothing
  for (int j = 0; j < 32; ++j) out.qs[j] = static_cast<std::int8_t>(rounded(x[j] * inverse));
  return true;
}

constexpr int kNf4Block = 64;

/// Four lanes, which every CPU has; compilers make one instruction of each operation.
using Floats = float __attribute__((vector_size(16)));
using Ints = std::int32_t __attribute__((vector_size(16)));
constexpr int kLanes = 4, kGroups = kNf4Block / kLanes;

/// One way to round a block.
struct Nf4Try {
  std::uint16_t d = 0;
  Ints codes[kGroups];
  float error = 0.0f;  ///< sum of squares
};

/// Codes of 64 values for the scale `wanted`, rounded to f16: how many of the 15 middles between neighbouring values
/// lie below x / d.
void try_scale(const Floats* x, float wanted, Nf4Try& out) {
  out.d = float_to_half(wanted);
  const float d = half_to_float(out.d), inverse = d != 0.0f ? 1.0f / d : 0.0f;
  Floats errors = {};
  for (int g = 0; g < kGroups; ++g) {
    const Floats scaled = x[g] * inverse;
    Ints code = {};
    Ints value = Ints{} + kNf4Values[0];
    for (int j = 0; j < 15; ++j) {
      const float middle = 0.5f * static_cast<float>(kNf4Values[j] + kNf4Values[j + 1]);
      const Ints is_above = scaled > middle;  // all bits set, or none
      code -= is_above;
      value += is_above & (kNf4Values[j + 1] - kNf4Values[j]);
    }
    out.codes[g] = code;
    const Floats error = x[g] - __builtin_convertvector(value, Floats) * d;
    errors += error * error;
  }
  out.error = (errors[0] + errors[1]) + (errors[2] + errors[3]);
}

/// The largest value need not be the last code: values that lie between are nearer to theirs when it is cut a little,
/// and of NF4's two sides the one with more values may be the better one for it.
bool quantise_block(const float* x, BlockNF4& out) {
  const float scale = largest_of(x, kNf4Block) / kNf4Scale;
  if (!(scale <= kMaxHalf)) return false;
  Floats values[kGroups];
  std::memcpy(values, x, sizeof values);
  Nf4Try best, other;
  try_scale(values, scale, best);
  for (const float factor : {0.9f, -1.0f, -0.9f}) {
    try_scale(values, factor * scale, other);
    if (other.error < best.error) best = other;
  }
  out.d = best.d;
  for (int j = 0; j < kNf4Block / 2; ++j) {
    const int first = j / 16 * 32 + j % 16, second = first + 16;
    out.qs[j] = static_cast<std::uint8_t>(best.codes[first / kLanes][first % kLanes] |
                                          best.codes[second / kLanes][second % kLanes] << 4);
  }
  return true;
}

template <typename Block, int kElements>
bool quantise_blocks(std::span<const float> from, std::byte* out) {
  CHECK(from.size() % kElements == 0);
  for (std::size_t at = 0; at < from.size(); at += kElements, out += sizeof(Block)) {
    Block block;
    if (!quantise_block(&from[at], block)) return false;
    std::memcpy(out, &block, sizeof block);
  }
  return true;
}

}  // namespace

bool quantise(DType dtype, std::span<const float> from, std::byte* out) {
  CHECK(can_quantise_to(dtype));
  return dtype == DType::kQ8_0 ? quantise_blocks<BlockQ8_0, 32>(from, out) : quantise_blocks<BlockNF4, 64>(from, out);
}

}  // namespace commissure
