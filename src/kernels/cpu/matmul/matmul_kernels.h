#pragma once

#include <cstddef>
#include <cstdint>

#include "core/dtype.h"

/// The matmul kernels of one instruction set; matmul.h drives them.
///
/// Canonical order. For every (weight row, column) the quantised product is
///   acc[b mod 4] = fma(isum_b, dw_b * dx_b, acc[b mod 4])          for 32-blocks b = 0, 1, ...
///   acc[b mod 4] = fma(mw_b, dx_b * sum_b, acc[b mod 4])           for formats with a minimum
///   y = (acc[0] + acc[1]) + (acc[2] + acc[3])
/// with isum_b the exact integer sum of weights times int8 activations and sum_b that of the activations. Every kernel
/// keeps this order, so a column's bits do not depend on how many columns share the pass, on the tile, or on the ISA.
/// Float weights are summed in 16 lanes, lane i taking k = i mod 16 in rising order, then by reduce_add's tree.
/// With two planes a column of x is packed as two columns: x rounded to int8, then the rounding error rounded to int8.
/// Each is a column of its own in the order above; the output is the first one's y plus the second one's.
/// This header meets compilers with wider instruction sets, hence plain pointers and no std classes.
namespace commissure::cpu {

/// Blocks of 32 are handled four at a time: one per chain of the canonical order.
constexpr int kBlock = 32;
constexpr int kChains = 4;

/// Four quantised blocks of one column, for a pass with few columns. Absent blocks are zero.
struct alignas(64) ColumnGroup {
  std::int8_t q[kChains * kBlock];
  float d[kChains];           ///< x = d * q
  float ds[kChains];          ///< d * sum(q)
  std::int32_t half_sums[8];  ///< sum of q[0, 16) of each block, then of q[16, 32) of each block
};

/// How many ColumnGroups hold one column of n_cols values.
constexpr int column_groups(int n_cols) { return (n_cols + kChains * kBlock - 1) / (kChains * kBlock); }

/// For many columns, `width` columns lie together: for each block
///   int8 q[8][width][4]; float d[width]; float ds[width]; int32 minus_sum[width], minus_half[2][width].
constexpr int kTileBytesPerBlock = kBlock + 5 * 4;

/// Rows of one weight matrix times all columns of a pass.
struct MatmulPart {
  DType dtype = DType::kF32;
  const std::byte* weights = nullptr;         ///< first row of the part, as stored
  const std::byte* packed_weights = nullptr;  ///< the same rows in the kernels' packed layout; read by `packed`
  std::size_t row_bytes = 0;
  std::int64_t n_rows = 0;
  int n_cols = 0;            ///< values per row
  int n_columns = 0;         ///< packed columns: two for every column of x with two planes
  int n_planes = 1;          ///< packed columns c, ..., c + n_planes - 1 add up to output column c / n_planes
  const float* x = nullptr;  ///< [n_columns, n_cols], rows x_stride apart; read for float weights
  std::ptrdiff_t x_stride = 0;
  const std::byte* packed = nullptr;  ///< for quantised weights: what pack_few, pack_tile or WideKernels::pack wrote
  float* out = nullptr;               ///< out[output column * out_stride + row]
  std::ptrdiff_t out_stride = 0;
  std::byte* tile = nullptr;  ///< tile_bytes() of this thread's own, 64-byte aligned
};

struct MatmulKernels {
  /// Packed columns that pack_tile puts side by side, an even number; 0: this ISA has no tile kernels.
  int tile_width;
  /// From this many columns on, tiles beat single rows.
  int min_tile_columns;
  /// Quantises one column into [n_planes, ceil(n_cols / 128)] groups.
  void (*pack_few)(const float* x, int n_cols, int n_planes, ColumnGroup* out);
  /// Quantises columns [0, width / n_planes) of x, rows x_stride apart, into one tile group.
  void (*pack_tile)(const float* x, std::ptrdiff_t x_stride, int n_cols, int width, int n_planes, std::byte* out);
  void (*few)(const MatmulPart& part);
  void (*tile)(const MatmulPart& part);
  void (*floats)(const MatmulPart& part);
  /// Quantised weights in the packed layout; x as packed by pack_tile. Null: this ISA has no such layout.
  void (*packed)(const MatmulPart& part);
  /// Upper bounds of the products with a screen (screen.h): `packed_weights` is it, x as pack_bounds() left it.
  void (*screen)(const MatmulPart& part);
  /// Bytes of 16 packed rows of n_cols values.
  std::size_t (*packed_tile_bytes)(DType dtype, int n_cols);
  /// Packs the part's rows from its `weights`.
  void (*pack_weights)(const MatmulPart& part, std::byte* out);
};

/// Quantised weights times many columns, where matrix instructions (AMX) beat MatmulKernels. These kernels read x in a
/// form of their own; they read the same weights and give the same bits as MatmulKernels.
struct WideKernels {
  int width;        ///< packed columns that `pack` puts side by side, an even number
  int min_columns;  ///< packed columns from which these kernels run
  /// As pack_tile, of up to `width` columns, but for each block int8 q[width][32] before the rest; always `width` wide.
  void (*pack)(const float* x, std::ptrdiff_t x_stride, int n_cols, int n_columns, int n_planes, std::byte* out);
  void (*stored)(const MatmulPart& part);
  void (*packed)(const MatmulPart& part);
};

/// Bytes of MatmulPart::tile for rows of n_cols values: whole groups of blocks, 768 bytes each block.
constexpr std::size_t tile_bytes(int n_cols) {
  return (n_cols / kBlock + kChains - 1) / kChains * kChains * std::size_t{768};
}

namespace generic {
extern const MatmulKernels kMatmul;
}
namespace avx2 {
extern const MatmulKernels kMatmul;
}
namespace avx512 {
extern const MatmulKernels kMatmul;
}
namespace amx {
extern const WideKernels kWide;
}

}  // namespace commissure::cpu
