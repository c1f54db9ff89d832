#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/result.h"
#include "synth/weight_scales.h"
#include "weights/tensor_info.h"

namespace commissure {

/// Rows of a tensor that are drawn alike: a whole matrix, or one of several in a fused tensor.
struct RandomRows {
  std::uint64_t key = 0;   ///< tensor_key
  std::int64_t first = 0;  ///< row of the tensor, all dimensions but the last counted as rows
  std::int64_t count = 0;
  Spread spread;
  double offset = 0.0;      ///< taken off what is drawn: 1 where a file stores w of (1 + w)
  int interleaved_dim = 0;  ///< of heads whose halves' rows a GGUF interleaves; 0: rows stand as they are
};

/// A tensor whose bytes are made when they are read.
struct RandomTensor {
  TensorInfo info;
  std::vector<RandomRows> rows;  ///< ascending, without gaps; empty: the values are given
  std::vector<float> given;
};

/// Bytes [offset, offset + out.size()) of the tensor, with as many threads as are worth it and there are.
/// Errors: kResourceExhausted, no memory.
Status draw(const RandomTensor& tensor, std::uint64_t offset, std::span<std::byte> out);

}  // namespace commissure
