#pragma once

#include <cstddef>
#include <span>

#include "kernels/backend.h"

/// What an adapter adds to a product of the base model: the product of two thin matrices. backend.h names these types.
namespace commissure {

/// The most inputs of an adapter's second matrix, which are the outputs of its first one.
inline constexpr int kMaxAdapterRank = 256;

/// An adapter's share of one weight matrix, as its files state it. F32 or BF16.
struct LowRankSource {
  MatrixSource down;  ///< [rank, inputs of the base matrix]
  MatrixSource up;    ///< [outputs of the base matrix, rank]
  float scale = 1.0f;
  /// [outputs]: what every output of base and adapter together is multiplied with (DoRA's magnitudes over the lengths
  /// of the rows); empty: 1 for all.
  std::span<const float> gain = {};
};

/// The same, resident on a device.
class LowRank {
 public:
  virtual ~LowRank() = default;
  virtual std::size_t n_bytes() const = 0;
};

/// Rows [first_row, first_row + n_rows) of a product that is finished take up an adapter's share:
///   out[r] += scale * (adapted - out[r]), where with y = weight x[r] of the base
///   adapted = (gain * (y + low_rank.scale * up (down x[r])) + product.bias) * product.scale
struct LowRankJob {
  const LowRank* weight = nullptr;
  MatmulJob product;
  int first_row = 0;
  int n_rows = 0;
  float scale = 1.0f;
};

}  // namespace commissure
