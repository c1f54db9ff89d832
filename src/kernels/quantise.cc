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

/// Codes of 64 values: how many of the 15 middles between neighbouring codes lie below x / d.
void nf4_codes(const float* x, float inverse, std::uint8_t* codes) {
  for (int j = 0; j < 64; ++j) {
    const float scaled = x[j] * inverse;
    int code = 0;
    for (int i = 0; i < 15; ++i) {
      code += static_cast<int>(scaled > 0.5f * static_cast<float>(kNf4Values[i] + kNf4Values[i + 1]));
    }
    codes[j] = static_cast<std::uint8_t>(code);
  }
}

bool quantise_block(const float* x, BlockNF4& out) {
  const float largest = largest_of(x, 64);
  if (!(largest / kNf4Scale <= kMaxHalf)) return false;
  out.d = float_to_half(largest / kNf4Scale);
  const float d = half_to_float(out.d);
  std::uint8_t codes[64];
  nf4_codes(x, out.d != 0 ? 1.0f / d : 0.0f, codes);
  for (int half = 0; half < 2; ++half) {
    const std::uint8_t* from = codes + 32 * half;
    for (int j = 0; j < 16; ++j) out.qs[16 * half + j] = static_cast<std::uint8_t>(from[j] | from[j + 16] << 4);
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
