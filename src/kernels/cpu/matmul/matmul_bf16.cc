#include "kernels/cpu/matmul/matmul_bf16.h"

#include "kernels/cpu/isa/simd.h"

/// bf16 weights times bf16 activations with f32 sums, compiled per ISA, and once more for CPUs that have vdpbf16ps.
///
/// Canonical order: lane i of 16 takes the pairs of k = 32 j + 2 i and the value after it, in rising j; of a pair first
/// the odd value's product is added, then the even one's, each by a fused multiply-add; then reduce_add's tree. That is
/// what vdpbf16ps does (but for numbers below 2^-126, which it takes for zero), so all vector ISAs give the same bits.
namespace commissure::cpu::COMMISSURE_ISA_NS {
namespace {

constexpr int kPairs = 2 * kLanes;  // values of one vector

#if defined(__AVX512BF16__)
using Values = __m512bh;
Values load_values(const std::uint16_t* p) { return (__m512bh)_mm512_loadu_si512(p); }
f32x16 add_products(f32x16 acc, Values w, Values x) { return {_mm512_dpbf16_ps(acc.v, w, x)}; }
#else
using Values = Pairs;
Values load_values(const std::uint16_t* p) { return load_pairs(p); }
f32x16 add_products(f32x16 acc, const Values& w, const Values& x) {
  return fma(w.first, x.first, fma(w.second, x.second, acc));
}
#endif

#if defined(__AVX512F__)
/// reduce_add of 4 x 4 vectors at once, the same additions in the same order: out[c * stride + r] of acc[r][c].
/// Halves of two vectors meet in one, then quarters of four, and so on: 45 operations instead of 144.
void put_sums(const f32x16 acc[4][4], float* out, std::ptrdiff_t stride) {
  __m512 v[16];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    const __m512 a = acc[i / 2][i % 2 * 2].v, b = acc[i / 2][i % 2 * 2 + 1].v;
    v[i] = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
  }
#pragma GCC unroll 4
  for (int r = 0; r < 4; ++r) {  // 128 bits of row r for each column
    const __m512 a = v[2 * r], b = v[2 * r + 1];
    v[r] = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
  }
  const auto add_pairs = [](__m512 a, __m512 b) {
    const __m512d x = _mm512_castps_pd(a), y = _mm512_castps_pd(b);
    return _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)), _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
  };
  const __m512 first = add_pairs(v[0], v[1]), last = add_pairs(v[2], v[3]);
  const __m512 sums = _mm512_add_ps(_mm512_shuffle_ps(first, last, 0x88), _mm512_shuffle_ps(first, last, 0xdd));
  _mm_storeu_ps(out, _mm512_castps512_ps128(sums));
  _mm_storeu_ps(out + stride, _mm512_extractf32x4_ps(sums, 1));
  _mm_storeu_ps(out + 2 * stride, _mm512_extractf32x4_ps(sums, 2));
  _mm_storeu_ps(out + 3 * stride, _mm512_extractf32x4_ps(sums, 3));
}
#endif

int packed_cols(int n_cols) { return (n_cols + kPairs - 1) / kPairs * kPairs; }

/// kRows weight rows times kColumns columns of x.
template <int kRows, int kColumns>
void block(const MatmulPart& part, const std::byte* rows, const std::uint16_t* x, float* out) {
  const int stride = packed_cols(part.n_cols), n_whole = part.n_cols / kPairs * kPairs;
  f32x16 acc[kRows][kColumns];
  const std::uint16_t* w[kRows];
  for (int r = 0; r < kRows; ++r) {
    w[r] = reinterpret_cast<const std::uint16_t*>(rows + r * part.row_bytes);
#pragma GCC unroll 8
    for (int c = 0; c < kColumns; ++c) acc[r][c] = set1(0.0f);
  }
  for (int k = 0; k < n_whole; k += kPairs) {
    Values v[kRows];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) v[r] = load_values(w[r] + k);
    // One row is one linear stream: what is asked for ahead may lie in the next rows.
    if constexpr (kRows == 1) __builtin_prefetch(reinterpret_cast<const std::byte*>(w[0] + k) + 4096);
#pragma GCC unroll 8
    for (int c = 0; c < kColumns; ++c) {
      const Values x_c = load_values(x + c * stride + k);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) acc[r][c] = add_products(acc[r][c], v[r], x_c);
    }
  }
  for (int r = 0; r < kRows && n_whole < part.n_cols; ++r) {
    std::uint16_t last[kPairs] = {};
    __builtin_memcpy(last, w[r] + n_whole, sizeof(last[0]) * (part.n_cols - n_whole));
#pragma GCC unroll 8
    for (int c = 0; c < kColumns; ++c) {
      acc[r][c] = add_products(acc[r][c], load_values(last), load_values(x + c * stride + n_whole));
    }
  }
#if defined(__AVX512F__)
  if constexpr (kRows == 4 && kColumns == 4) return put_sums(acc, out, part.out_stride);
#endif
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int c = 0; c < kColumns; ++c) out[c * part.out_stride + r] = reduce_add(acc[r][c]);
  }
}

#if defined(__AVX512F__)
constexpr int kBlockRows = 4, kBlockColumns = 4;

template <int kRows, int kColumns>
void block_of_many(const MatmulPart& part, const std::byte* rows, const std::uint16_t* x, float* out) {
  block<kRows, kColumns>(part, rows, x, out);
}
#elif defined(__AVX2__)
constexpr int kBlockRows = 4, kBlockColumns = 2;

/// Adds the products of half a vector's lanes; w and x point at their values of that half.
template <int kRows, int kColumns>
[[gnu::always_inline]] inline void add_half(const std::uint16_t* const* w, int at, const std::uint16_t* x, int stride,
                                            __m256 (*acc)[kColumns]) {
  __m256 even[kColumns], odd[kColumns];
#pragma GCC unroll 2
  for (int c = 0; c < kColumns; ++c) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + c * stride + at));
    even[c] = low_halves(bits);
    odd[c] = high_halves(bits);
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w[r] + at));
    const __m256 w_even = low_halves(bits), w_odd = high_halves(bits);
#pragma GCC unroll 2
    for (int c = 0; c < kColumns; ++c) {
      acc[r][c] = _mm256_fmadd_ps(w_even, even[c], _mm256_fmadd_ps(w_odd, odd[c], acc[r][c]));
    }
  }
}

/// block() for columns that are many: first the lower half of all lanes, then the upper one, so that the sums of four
/// rows and two columns stay in registers.
template <int kRows, int kColumns>
void block_of_many(const MatmulPart& part, const std::byte* rows, const std::uint16_t* x, float* out) {
  const int stride = packed_cols(part.n_cols), n_whole = part.n_cols / kPairs * kPairs;
  const std::uint16_t* w[kRows];
  std::uint16_t last[kRows][kPairs] = {};
  const std::uint16_t* w_last[kRows];
  for (int r = 0; r < kRows; ++r) {
    w[r] = reinterpret_cast<const std::uint16_t*>(rows + r * part.row_bytes);
    w_last[r] = last[r];
    __builtin_memcpy(last[r], w[r] + n_whole, sizeof last[r][0] * (part.n_cols - n_whole));
  }
  __m256 halves[2][kRows][kColumns];
  for (int half = 0; half < 2; ++half) {
    __m256 acc[kRows][kColumns];
#pragma GCC unroll 8
    for (int i = 0; i < kRows * kColumns; ++i) acc[i / kColumns][i % kColumns] = _mm256_setzero_ps();
    for (int k = half * kLanes; k < n_whole; k += kPairs) add_half<kRows, kColumns>(w, k, x, stride, acc);
    if (n_whole < part.n_cols) add_half<kRows, kColumns>(w_last, half * kLanes, x + n_whole, stride, acc);
#pragma GCC unroll 8
    for (int i = 0; i < kRows * kColumns; ++i)
      halves[half][i / kColumns][i % kColumns] = acc[i / kColumns][i % kColumns];
  }
  for (int r = 0; r < kRows; ++r) {
    for (int c = 0; c < kColumns; ++c) out[c * part.out_stride + r] = reduce_add({halves[0][r][c], halves[1][r][c]});
  }
}
#endif

/// Up to this many columns one weight row at a time meets all of them: memory wants a single linear stream.
constexpr int kMaxStreamed = 8;

template <int kColumns>
void stream(const MatmulPart& part, const std::uint16_t* x) {
  if constexpr (kColumns > 0) {
    if (part.n_columns != kColumns) return stream<kColumns - 1>(part, x);
    const std::byte* row = part.weights;
    for (std::int64_t r = 0; r < part.n_rows; ++r, row += part.row_bytes) {
      block<1, kColumns>(part, row, x, part.out + r);
    }
  }
}

/// Columns [first, last) for kRows rows.
template <int kRows>
void block_rows(const MatmulPart& part, const std::uint16_t* x, std::int64_t row, int first, int last) {
  const std::byte* rows = part.weights + row * part.row_bytes;
  const int stride = packed_cols(part.n_cols);
  int c = first;
  for (; c + kBlockColumns <= last; c += kBlockColumns) {
    block_of_many<kRows, kBlockColumns>(part, rows, x + std::ptrdiff_t{c} * stride,
                                        part.out + c * part.out_stride + row);
  }
  for (; c < last; ++c) {
    block_of_many<kRows, 1>(part, rows, x + std::ptrdiff_t{c} * stride, part.out + c * part.out_stride + row);
  }
}

void multiply(const MatmulPart& part) {
  const auto* x = reinterpret_cast<const std::uint16_t*>(part.packed);
  if (part.n_columns <= kMaxStreamed) return stream<kMaxStreamed>(part, x);
  // Columns that stay in L2 while all rows pass by.
  constexpr int kL2Values = 192 * 1024;
  const int fit = kL2Values / packed_cols(part.n_cols) / kBlockColumns * kBlockColumns;
  const int n_at_once = fit < kBlockColumns ? kBlockColumns : fit;
  for (int first = 0; first < part.n_columns; first += n_at_once) {
    const int last = part.n_columns - first < n_at_once ? part.n_columns : first + n_at_once;
    std::int64_t row = 0;
    for (; row + kBlockRows <= part.n_rows; row += kBlockRows) block_rows<kBlockRows>(part, x, row, first, last);
    for (; row < part.n_rows; ++row) block_rows<1>(part, x, row, first, last);
  }
}

void pack(const float* x, int n_cols, std::uint16_t* out) {
  int i = 0;
  for (; i + kLanes <= n_cols; i += kLanes) store_bf16(out + i, load(x + i));
  if (i < n_cols) {
    store_bf16(out + i, load_partial(x + i, n_cols - i));
    i += kLanes;
  }
  for (; i < packed_cols(n_cols); i += kLanes) store_bf16(out + i, set1(0.0f));
}

}  // namespace

const Bf16Kernels kBf16 = {pack, multiply};

}  // namespace commissure::cpu::COMMISSURE_ISA_NS
