#include "kernels/quant.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/check.h"

namespace commissure {
namespace {

/// Block b of a row; GGUF tensors are only guaranteed byte alignment inside a block, so it is copied.
template <typename Block>
Block block_at(const std::byte* from, std::size_t b) {
  Block block;
  std::memcpy(&block, from + b * sizeof(Block), sizeof(Block));
  return block;
}

/// Nibble j of 32: low halves first, then high halves.
int nibble(const std::uint8_t* qs, int j) { return j < 16 ? qs[j] & 15 : qs[j - 16] >> 4; }

/// Bit j of 32 as 16 or 0: the fifth bit of a 5-bit value.
int fifth_bit(const std::uint8_t* qh, int j) { return ((qh[j / 8] >> (j % 8)) & 1) << 4; }

void dequantise_block(const BlockQ4_0& b, float* y) {
  const float d = half_to_float(b.d);
  for (int j = 0; j < 32; ++j) y[j] = d * static_cast<float>(nibble(b.qs, j) - 8);
}

void dequantise_block(const BlockQ4_1& b, float* y) {
  const float d = half_to_float(b.d), m = half_to_float(b.m);
  for (int j = 0; j < 32; ++j) y[j] = d * static_cast<float>(nibble(b.qs, j)) + m;
}

void dequantise_block(const BlockQ5_0& b, float* y) {
  const float d = half_to_float(b.d);
  for (int j = 0; j < 32; ++j) y[j] = d * static_cast<float>((nibble(b.qs, j) | fifth_bit(b.qh, j)) - 16);
}

void dequantise_block(const BlockQ5_1& b, float* y) {
  const float d = half_to_float(b.d), m = half_to_float(b.m);
  for (int j = 0; j < 32; ++j) y[j] = d * static_cast<float>(nibble(b.qs, j) | fifth_bit(b.qh, j)) + m;
}

void dequantise_block(const BlockQ8_0& b, float* y) {
  const float d = half_to_float(b.d);
  for (int j = 0; j < 32; ++j) y[j] = d * static_cast<float>(b.qs[j]);
}

/// Nibble l of sub-block j: two sub-blocks share 32 bytes, the even one in the low halves.
int k_nibble(const std::uint8_t* qs, int j, int l) {
  const int byte = qs[(j / 2) * 32 + l];
  return j % 2 == 0 ? byte & 15 : byte >> 4;
}

void dequantise_block(const BlockQ4_K& b, float* y) {
  const float d = half_to_float(b.d), dmin = half_to_float(b.dmin);
  for (int j = 0; j < 8; ++j) {
    const auto [scale, minimum] = sub_scale(b.scales, j);
    const float dw = d * scale, mw = dmin * minimum;
    for (int l = 0; l < 32; ++l) *y++ = dw * static_cast<float>(k_nibble(b.qs, j, l)) - mw;
  }
}

void dequantise_block(const BlockQ5_K& b, float* y) {
  const float d = half_to_float(b.d), dmin = half_to_float(b.dmin);
  for (int j = 0; j < 8; ++j) {
    const auto [scale, minimum] = sub_scale(b.scales, j);
    const float dw = d * scale, mw = dmin * minimum;
    for (int l = 0; l < 32; ++l) {
      *y++ = dw * static_cast<float>(k_nibble(b.qs, j, l) | (((b.qh[l] >> j) & 1) << 4)) - mw;
    }
  }
}

/// Value e (0..255): halves of 128; inside a half four runs of 32 share ql (low then high halves) and qh (bit pairs).
int q6_value(const BlockQ6_K& b, int e) {
  const int half = e / 128, run = (e % 128) / 32, l = e % 32;
  const int byte = b.ql[half * 64 + (run % 2) * 32 + l];
  const int low = run < 2 ? byte & 15 : byte >> 4;
  return (low | (((b.qh[half * 32 + l] >> (2 * run)) & 3) << 4)) - 32;
}

void dequantise_block(const BlockQ6_K& b, float* y) {
  const float d = half_to_float(b.d);
  for (int e = 0; e < 256; ++e) y[e] = d * static_cast<float>(b.scales[e / 16]) * static_cast<float>(q6_value(b, e));
}

void dequantise_block(const BlockNF4& b, float* y) {
  const float d = half_to_float(b.d);
  for (int j = 0; j < 64; ++j) y[j] = d * static_cast<float>(kNf4Values[nibble(b.qs + j / 32 * 16, j % 32)]);
}

void dequantise_block(const BlockMXFP4& b, float* y) {
  const float d = fp4_scale(b.e);
  for (int j = 0; j < 32; ++j) y[j] = d * static_cast<float>(kFp4Values[nibble(b.qs, j)]);
}

template <typename Block, int kElements>
void dequantise_blocks(const std::byte* from, std::span<float> to) {
  CHECK(to.size() % kElements == 0);
  for (std::size_t b = 0; b < to.size() / kElements; ++b) {
    dequantise_block(block_at<Block>(from, b), &to[b * kElements]);
  }
}

void dequantise_half(const std::byte* from, std::span<float> to, float (*convert)(std::uint16_t)) {
  for (std::size_t i = 0; i < to.size(); ++i) to[i] = convert(block_at<std::uint16_t>(from, i));
}

}  // namespace

SubScale sub_scale(const std::uint8_t* scales, int j) {
  if (j < 4) return {static_cast<std::uint8_t>(scales[j] & 63), static_cast<std::uint8_t>(scales[j + 4] & 63)};
  return {static_cast<std::uint8_t>((scales[j + 4] & 15) | ((scales[j - 4] >> 6) << 4)),
          static_cast<std::uint8_t>((scales[j + 4] >> 4) | ((scales[j] >> 6) << 4))};
}

float fp4_scale(std::uint8_t e) {
  constexpr std::uint32_t kLowest = 0x00400000;  // 2^-127, no normal number
  return 0.5f * std::bit_cast<float>(std::max(std::uint32_t{e} << 23, kLowest));
}

void dequantise(DType dtype, const std::byte* from, std::span<float> to) {
  switch (dtype) {
    case DType::kF32: std::memcpy(to.data(), from, to.size_bytes()); return;
    case DType::kF16: return dequantise_half(from, to, half_to_float);
    case DType::kBF16: return dequantise_half(from, to, to_float);
    case DType::kQ8_0: return dequantise_blocks<BlockQ8_0, 32>(from, to);
    case DType::kQ4_0: return dequantise_blocks<BlockQ4_0, 32>(from, to);
    case DType::kQ4_1: return dequantise_blocks<BlockQ4_1, 32>(from, to);
    case DType::kQ5_0: return dequantise_blocks<BlockQ5_0, 32>(from, to);
    case DType::kQ5_1: return dequantise_blocks<BlockQ5_1, 32>(from, to);
    case DType::kQ4_K: return dequantise_blocks<BlockQ4_K, 256>(from, to);
    case DType::kQ5_K: return dequantise_blocks<BlockQ5_K, 256>(from, to);
    case DType::kQ6_K: return dequantise_blocks<BlockQ6_K, 256>(from, to);
    case DType::kNF4: return dequantise_blocks<BlockNF4, 64>(from, to);
    case DType::kMXFP4: return dequantise_blocks<BlockMXFP4, 32>(from, to);
    case DType::kI32:
    case DType::kU8: break;
  }
  CHECK(false && "no float values in this dtype");
}

}  // namespace commissure
