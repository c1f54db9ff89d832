#pragma once

#include <cstddef>
#include <cstdint>

#include "core/dtype.h"

/// What the GPU's backend takes of its card's memory: it allocates by these functions, and who has to know before asks
/// them.
namespace commissure {

/// A weight matrix on a card.
struct CardMatrix {
  std::size_t n_bytes = 0;       ///< as it lies there: packed, or as rows of whole blocks
  std::size_t stored_bytes = 0;  ///< beside that while it is packed: as the checkpoint has it
};
CardMatrix card_matrix(DType dtype, std::int64_t n_rows, std::int64_t n_cols);

/// Rows of x [n_rows, n_cols] on their way into products: in bf16, or as planes of int8 with a scale and a sum for each
/// block.
struct CardInput {
  std::size_t value_bytes = 0;
  std::size_t scale_bytes = 0;  ///< of the scales, and of the sums
  std::size_t n_bytes() const { return value_bytes + 2 * scale_bytes; }
};
CardInput card_input(int n_rows, int n_cols, bool is_bf16, int n_planes);

/// What is allocated where `n_bytes` are needed from one operation to the next: powers of two, so that memory that
/// grows is seldom made anew.
std::size_t card_scratch(std::size_t n_bytes);

/// What attention may keep of folded spans until they are joined.
inline constexpr std::size_t kMaxPartialBytes = std::size_t{64} << 20;

}  // namespace commissure
