#pragma once

#include "kernels/cpu/isa/simd.h"
#include "kernels/cpu/matmul/matmul_kernels.h"

/// Float weights times f32 activations: 16 lanes over k, one chain per (row, column), then reduce_add's tree.
namespace commissure::cpu::COMMISSURE_ISA_NS {

struct WeightF32 {
  using Value = float;
  static f32x16 load16(const float* p) { return load(p); }
};
struct WeightF16 {
  using Value = std::uint16_t;
  static f32x16 load16(const std::uint16_t* p) { return load_f16(p); }
};
struct WeightBF16 {
  using Value = std::uint16_t;
  static f32x16 load16(const std::uint16_t* p) { return load_bf16(p); }
};

/// The first n (1..15) values, then zeros.
template <typename Weight>
f32x16 load_last(const typename Weight::Value* p, int n) {
  typename Weight::Value padded[kLanes] = {};
  std::memcpy(padded, p, sizeof(*p) * n);
  return Weight::load16(padded);
}

template <typename Weight, int kRows, int kColumns>
void float_block(const MatmulPart& part, const std::byte* rows, const float* x, float* out) {
  f32x16 acc[kRows][kColumns];
  const typename Weight::Value* w[kRows];
  for (int r = 0; r < kRows; ++r) {
    w[r] = reinterpret_cast<const typename Weight::Value*>(rows + r * part.row_bytes);
    for (int c = 0; c < kColumns; ++c) acc[r][c] = set1(0.0f);
  }
  const int n_whole = part.n_cols / kLanes * kLanes;
  for (int k = 0; k < n_whole; k += kLanes) {
    f32x16 v[kRows];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) v[r] = Weight::load16(w[r] + k);
#pragma GCC unroll 4
    for (int c = 0; c < kColumns; ++c) {
      const f32x16 x_c = load(x + c * part.x_stride + k);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) acc[r][c] = fma(v[r], x_c, acc[r][c]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int c = 0; c < kColumns; ++c) {
      if (const int n = part.n_cols - n_whole; n > 0) {
        const f32x16 x_c = load_partial(x + c * part.x_stride + n_whole, n);
        acc[r][c] = fma(load_last<Weight>(w[r] + n_whole, n), x_c, acc[r][c]);
      }
      out[c * part.out_stride + r] = reduce_add(acc[r][c]);
    }
  }
}

#if defined(__AVX512F__)
constexpr int kFloatBlock = 4;
#else
constexpr int kFloatBlock = 2;  // two registers per vector: 4 x 4 would spill
#endif

/// All columns for kRows rows, in blocks of kFloatBlock columns.
template <typename Weight, int kRows>
void float_rows(const MatmulPart& part, std::int64_t row) {
  const std::byte* rows = part.weights + row * part.row_bytes;
  int c = 0;
  for (; c + kFloatBlock <= part.n_columns; c += kFloatBlock) {
    float_block<Weight, kRows, kFloatBlock>(part, rows, part.x + c * part.x_stride,
                                            part.out + c * part.out_stride + row);
  }
  for (; c < part.n_columns; ++c) {
    float_block<Weight, kRows, 1>(part, rows, part.x + c * part.x_stride, part.out + c * part.out_stride + row);
  }
}

template <typename Weight>
void floats(const MatmulPart& part) {
  std::int64_t row = 0;
  // Few columns are bound by memory, which wants a single linear stream.
  constexpr int kMaxStreamed = 8;
  if (part.n_columns > kMaxStreamed) {
    for (; row + kFloatBlock <= part.n_rows; row += kFloatBlock) float_rows<Weight, kFloatBlock>(part, row);
  }
  for (; row < part.n_rows; ++row) float_rows<Weight, 1>(part, row);
}

}  // namespace commissure::cpu::COMMISSURE_ISA_NS
