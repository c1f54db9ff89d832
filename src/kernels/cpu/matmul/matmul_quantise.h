#pragma once

#include "kernels/cpu/isa/simd.h"
#include "kernels/cpu/matmul/matmul_kernels.h"

/// Activations to int8 per 32 values: d = max|x| / 127, q = round(x * (1 / d)), ties to even.
/// Blocks below 1e-30 become zero (1 / d would overflow). A column with an infinity or NaN becomes NaN as a whole:
/// an int8 cannot carry it, and hiding it would turn a broken model into a wrong answer.
namespace commissure::cpu::COMMISSURE_ISA_NS {

struct QuantisedBlock {
  alignas(32) std::int8_t q[kBlock];
  float d;
  float ds;
  std::int32_t half_sums[2];
};

/// 0 when all n_cols values are finite, else NaN. x - x is 0 or NaN.
inline float finite_probe(const float* x, int n_cols) {
  f32x16 probe = set1(0.0f);
  for (int i = 0; i < n_cols; i += kLanes) {
    const f32x16 v = load(x + i);
    probe = probe + (v - v);
  }
  return reduce_add(probe);
}

/// `error`, unless null, receives the 32 values x - d * q: what a second plane holds.
inline void quantise_block(const float* x, float probe, QuantisedBlock& out, float* error) {
  const f32x16 lo = load(x), hi = load(x + kLanes);
  const float largest = reduce_max(max(abs(lo), abs(hi)));
  const bool is_zero = largest < 1e-30f;
  const float d = is_zero ? 0.0f : largest / 127.0f;
  const f32x16 inverse = set1(is_zero ? 0.0f : 1.0f / d);
  store_i8(out.q, lo * inverse);
  store_i8(out.q + kLanes, hi * inverse);
  if (error != nullptr) {
    store(error, lo - set1(d) * round(lo * inverse));
    store(error + kLanes, hi - set1(d) * round(hi * inverse));
  }
  for (int h = 0; h < 2; ++h) {
    const __m128i q = _mm_load_si128(reinterpret_cast<const __m128i*>(out.q + h * 16));
    // The sum of absolute differences adds unsigned bytes: shift int8 up by 128 and take 16 * 128 off again.
    const __m128i sums = _mm_sad_epu8(_mm_xor_si128(q, _mm_set1_epi8(-128)), _mm_setzero_si128());
    out.half_sums[h] = _mm_cvtsi128_si32(sums) + _mm_extract_epi16(sums, 4) - 16 * 128;
  }
  out.d = d + probe;
  out.ds = d * static_cast<float>(out.half_sums[0] + out.half_sums[1]) + probe;
}

inline void put_block(const QuantisedBlock& block, int i, ColumnGroup& group) {
  std::memcpy(group.q + i * kBlock, block.q, kBlock);
  group.d[i] = block.d;
  group.ds[i] = block.ds;
  group.half_sums[i] = block.half_sums[0];
  group.half_sums[kChains + i] = block.half_sums[1];
}

/// The block's planes: x, then its rounding error.
inline void quantise_planes(const float* x, float probe, int n_planes, QuantisedBlock* planes) {
  if (n_planes == 1) return quantise_block(x, probe, planes[0], nullptr);
  float error[kBlock];
  quantise_block(x, probe, planes[0], error);
  quantise_block(error, probe, planes[1], nullptr);
}

inline void pack_few(const float* x, int n_cols, int n_planes, ColumnGroup* out) {
  const float probe = finite_probe(x, n_cols);
  const int n_blocks = n_cols / kBlock;
  const int n_groups = (n_blocks + kChains - 1) / kChains;
  for (int b = 0; b < n_groups * kChains; ++b) {
    QuantisedBlock planes[2] = {};
    if (b < n_blocks) quantise_planes(x + b * kBlock, probe, n_planes, planes);
    for (int p = 0; p < n_planes; ++p) put_block(planes[p], b % kChains, out[p * n_groups + b / kChains]);
  }
}

/// Byte offsets inside one block of a tile group `width` columns wide.
struct TileOffsets {
  explicit constexpr TileOffsets(int width)
      : d(kBlock * width), ds(d + 4 * width), minus_sum(ds + 4 * width), minus_half(minus_sum + 4 * width) {}
  int d, ds, minus_sum, minus_half;
};

/// How the int8 of a group's columns lie: dword j of all columns side by side, for broadcasts, or each column's 32
/// together, as rows of an AMX tile.
enum class Interleave { kDwords, kColumns };

/// `to` is the block's place in a tile group.
template <Interleave kInterleave>
void put_block(const QuantisedBlock& block, int width, int column, std::byte* to) {
  const TileOffsets at(width);
  if constexpr (kInterleave == Interleave::kColumns) {
    std::memcpy(to + kBlock * column, block.q, kBlock);
  } else {
    for (int j = 0; j < kBlock / 4; ++j) std::memcpy(to + 4 * (width * j + column), block.q + 4 * j, 4);
  }
  to += 4 * column;
  const std::int32_t minus[3] = {-(block.half_sums[0] + block.half_sums[1]), -block.half_sums[0], -block.half_sums[1]};
  std::memcpy(to + at.d, &block.d, 4);
  std::memcpy(to + at.ds, &block.ds, 4);
  std::memcpy(to + at.minus_sum, &minus[0], 4);
  std::memcpy(to + at.minus_half, &minus[1], 4);
  std::memcpy(to + at.minus_half + 4 * width, &minus[2], 4);
}

/// Columns [0, n_columns) of a group `width` wide.
template <Interleave kInterleave>
void pack_columns(const float* x, std::ptrdiff_t x_stride, int n_cols, int n_columns, int width, int n_planes,
                  std::byte* out) {
  for (int c = 0; c < n_columns; c += n_planes, x += x_stride) {
    const float probe = finite_probe(x, n_cols);
    std::byte* to = out;
    for (int b = 0; b < n_cols / kBlock; ++b, to += kTileBytesPerBlock * width) {
      QuantisedBlock planes[2];
      quantise_planes(x + b * kBlock, probe, n_planes, planes);
      for (int p = 0; p < n_planes; ++p) put_block<kInterleave>(planes[p], width, c + p, to);
    }
  }
}

inline void pack_tile(const float* x, std::ptrdiff_t x_stride, int n_cols, int width, int n_planes, std::byte* out) {
  pack_columns<Interleave::kDwords>(x, x_stride, n_cols, width, width, n_planes, out);
}

}  // namespace commissure::cpu::COMMISSURE_ISA_NS
