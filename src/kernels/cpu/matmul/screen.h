#pragma once

#include <cstddef>
#include <cstdint>

#include "core/dtype.h"
#include "kernels/quant.h"

/// A screen is a weight matrix once more at 5.5 bits a weight. Read instead of the matrix, it bounds every product from
/// above, and only the rows whose bound reaches the largest products need to be read themselves: for a greedy token a
/// median of 17 rows of Gemma 3 270M's 262,144 and 86 rows of SmolLM2 135M's 49,152 in Q8_0; 57 and 238 rows as floats.
///
/// For each block of 32 weights with scale d (f16) and q in [0, 32):
///   w = d * (q - 16 + centre) + r,  |r| <= d * reach,  |w| <= 16 * d
/// and for activations x = dx * qx + e with int8 qx (matmul_quantise.h):
///   w . x <= d * (dx * sum((q - 16) * qx) + bound of x)
///   bound of x = centre * dx * sum(qx) + reach * dx * sum(|qx|) + 16 * sum(|e|)
/// Source: the bounds are Hoelder's inequality, block by block.
namespace commissure::cpu {

/// Whether a matrix of this type is worth a screen: a matrix of at most 7 bits a weight is itself read about as fast as
/// a screen.
bool has_screen(DType dtype);

/// Writes the `n_cols / 32` screen blocks of one row; q and d as BlockQ5_0 has them. `row` is stored as in the
/// checkpoint. False: a scale is negative, not finite or too large for f16; then the matrix has no screen.
bool screen_row(DType dtype, const std::byte* row, int n_cols, BlockQ5_0* out);

/// Prepares columns for products with the screen of a `dtype` matrix: in each block of `packed`, where pack_tile left d
/// * sum(q), it puts the bound of x defined above, made a little larger to cover rounding.
///   packed  one tile group of `width` columns as MatmulKernels::pack_tile wrote it
///   x  [width, n_cols], rows `stride` apart: what was packed
void pack_bounds(DType dtype, const float* x, std::ptrdiff_t stride, int n_cols, int width, std::byte* packed);

}  // namespace commissure::cpu
