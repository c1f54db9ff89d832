#include "kernels/card_bytes.h"

#include <bit>

#include "core/index.h"
#include "kernels/cuda/names.h"

namespace commissure {

CardMatrix card_matrix(DType dtype, std::int64_t n_rows, std::int64_t n_cols) {
  const int rows = static_cast<int>(n_rows), cols = static_cast<int>(n_cols);
  if (is_quantised(dtype)) {
    return {cuda::packed_layout(cuda::names_of(dtype).format, rows, cols).n_bytes,
            to_size(n_rows) * row_bytes(dtype, n_cols)};
  }
  return {to_size(n_rows) * row_bytes(dtype, cuda::padded_columns(cols)), 0};
}

CardInput card_input(int n_rows, int n_cols, bool is_bf16, int n_planes) {
  using namespace cuda;
  const std::size_t n_blocks = to_size(ceil_of(ceil_of(n_cols, kBlock), kChains) * kChains);
  // Kernels of many columns read whole groups of 8 tiles.
  const std::size_t n_tiles = to_size(ceil_of(ceil_of(n_rows, kTileColumns) * n_planes, kMaxTiles) * kMaxTiles);
  return {n_tiles * n_blocks * kWarp * (is_bf16 ? 16 : 8),
          is_bf16 ? 0 : n_tiles * n_blocks * kTileColumns * sizeof(float)};
}

std::size_t card_scratch(std::size_t n_bytes) { return n_bytes == 0 ? 0 : std::bit_ceil(n_bytes); }

}  // namespace commissure
