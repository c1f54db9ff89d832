#pragma once

#include "kernels/cpu/matmul/matmul_unpack.h"

/// Few columns: one weight row at a time straight from the checkpoint's pages, because two rows read side by side
/// halve what the memory delivers. A row is unpacked once in registers and meets all columns.
namespace commissure::cpu::COMMISSURE_ISA_NS {

/// Dot products of 4 adjacent bytes of w and x, in 8 lanes.
template <bool kSigned>
__m256i dot4(__m256i w, __m256i x) {
#if defined(__AVX512F__)
  static_assert(!kSigned);
  return _mm256_dpbusd_epi32(_mm256_setzero_si256(), w, x);
#else
  // Products of a pair stay within int16: 63 * 127 * 2, or 128 * 127 * 2 with the sign moved over to x.
  const __m256i pairs =
      kSigned ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w)) : _mm256_maddubs_epi16(w, x);
  return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
#endif
}

/// The integer sums of four blocks with one column.
template <typename Format>
__m128i block_sums(const WeightGroup& w, const ColumnGroup& x) {
  __m256i v[kChains];
#pragma GCC unroll 4
  for (int i = 0; i < kChains; ++i) {
    v[i] = dot4<Format::kSigned>(w.w[i], _mm256_load_si256(reinterpret_cast<const __m256i*>(x.q + i * kBlock)));
  }
  // Transposing sums: lane i of each 128-bit half ends as block i's sum over that half's 16 values.
  const __m256i a = _mm256_add_epi32(_mm256_unpacklo_epi32(v[0], v[1]), _mm256_unpackhi_epi32(v[0], v[1]));
  const __m256i b = _mm256_add_epi32(_mm256_unpacklo_epi32(v[2], v[3]), _mm256_unpackhi_epi32(v[2], v[3]));
  __m256i sums = _mm256_add_epi32(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
  if constexpr (Format::kBiasShift != kNoBias) {
    const __m256i of_x = _mm256_load_si256(reinterpret_cast<const __m256i*>(x.half_sums));
    sums = _mm256_sub_epi32(sums, _mm256_slli_epi32(of_x, Format::kBiasShift));
  }
  if constexpr (Format::kHasHalfScale) sums = _mm256_mullo_epi32(sums, w.half_scales);
  return _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
}

template <typename Format>
__m128 accumulate(const WeightGroup& w, const ColumnGroup& x, __m128 acc) {
  const __m128 scale = _mm_mul_ps(w.d, _mm_load_ps(x.d));
  acc = _mm_fmadd_ps(_mm_cvtepi32_ps(block_sums<Format>(w, x)), scale, acc);
  if constexpr (Format::kHasMinimum) acc = _mm_fmadd_ps(w.m, _mm_load_ps(x.ds), acc);
  return acc;
}

/// (acc[0] + acc[1]) + (acc[2] + acc[3])
inline float sum_chains(__m128 acc) {
  const __m128 pairs = _mm_hadd_ps(acc, acc);
  return _mm_cvtss_f32(_mm_hadd_ps(pairs, pairs));
}

/// How far ahead of the row the next pages' lines are asked for; the stream is linear, so rows may be crossed.
constexpr std::size_t kPrefetchBytes = 2048;

/// kColumns columns from `columns` on, n_groups groups each.
template <typename Format, int kColumns, int kPlanes>
void few_columns(const MatmulPart& part, const ColumnGroup* columns, float* out) {
  const int n_blocks = part.n_cols / kBlock;
  const int n_groups = (n_blocks + kChains - 1) / kChains;
  constexpr std::size_t kGroupBytes = sizeof(typename Format::Block) * kChains / Format::kBlocks;
  const std::byte* row = part.weights;
  for (std::int64_t r = 0; r < part.n_rows; ++r, row += part.row_bytes) {
    __m128 acc[kColumns];
#pragma GCC unroll 8
    for (int c = 0; c < kColumns; ++c) acc[c] = _mm_setzero_ps();
    for (int g = 0; g < n_groups; ++g) {
      const std::byte* ahead = row + g * kGroupBytes + kPrefetchBytes;
      for (std::size_t i = 0; i < kGroupBytes; i += 64) _mm_prefetch(ahead + i, _MM_HINT_T0);
      const WeightGroup w = load_group<Format>(row, g, n_blocks);
#pragma GCC unroll 8
      for (int c = 0; c < kColumns; ++c) acc[c] = accumulate<Format>(w, columns[c * n_groups + g], acc[c]);
    }
#pragma GCC unroll 8
    for (int c = 0; c < kColumns; c += kPlanes) {
      float y = sum_chains(acc[c]);
      if constexpr (kPlanes == 2) y += sum_chains(acc[c + 1]);
      out[c / kPlanes * part.out_stride + r] = y;
    }
  }
}

template <typename Format, int kPlanes>
void few_planes(const MatmulPart& part) {
  const int n_groups = (part.n_cols / kBlock + kChains - 1) / kChains;
  const auto* columns = reinterpret_cast<const ColumnGroup*>(part.packed);
  float* out = part.out;
  int left = part.n_columns;
  for (; left >= 4; left -= 4, columns += 4 * n_groups, out += 4 / kPlanes * part.out_stride) {
    few_columns<Format, 4, kPlanes>(part, columns, out);
  }
  if constexpr (kPlanes == 1) {
    if (left == 3) return few_columns<Format, 3, 1>(part, columns, out);
    if (left == 1) return few_columns<Format, 1, 1>(part, columns, out);
  }
  if (left == 2) few_columns<Format, 2, kPlanes>(part, columns, out);
}

template <typename Format>
void few(const MatmulPart& part) {
  part.n_planes == 2 ? few_planes<Format, 2>(part) : few_planes<Format, 1>(part);
}

}  // namespace commissure::cpu::COMMISSURE_ISA_NS
