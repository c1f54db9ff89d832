#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/result.h"
#include "synth/weight_scales.h"
#include "weights/tensor_info.h"

namespace commissure {

inline constexpr std::int64_t kFp4Block = 32;  ///< values of MXFP4 that share a scale

/// How a tensor's values stand in it. gpt-oss's files keep codes and scales of MXFP4 apart, and let gate and up of its
/// experts take turns.
enum class RowForm {
  kValues,
  kCodes,   ///< of MXFP4, U8 [..., blocks, 16]: codes 2i and 2i + 1 share byte i
  kScales,  ///< of MXFP4, U8 [..., blocks]
};

/// Rows of a tensor that are drawn alike: a whole matrix, or one of several in a fused tensor.
struct RandomRows {
  std::uint64_t key = 0;      ///< tensor_key
  std::uint64_t odd_key = 0;  ///< two take turns, this the second: by columns in kValues, else by rows; 0: one alone
  std::int64_t first = 0;     ///< row of the tensor, counted over all dimensions before those of a row
  std::int64_t count = 0;
  std::int64_t drawn_row = 0;     ///< what its first row is a row of
  std::int64_t drawn_column = 0;  ///< and its first column a column; even
  Spread spread;
  double offset = 0.0;      ///< taken off what is drawn: 1 where a file stores w of (1 + w)
  int interleaved_dim = 0;  ///< of heads whose halves' rows a GGUF interleaves; 0: rows stand as they are
};

/// A tensor whose bytes are made when they are read.
struct RandomTensor {
  TensorInfo info;
  RowForm form = RowForm::kValues;
  std::vector<RandomRows> rows;  ///< ascending, without gaps; empty: the values are given
  std::vector<float> given;
};

/// Bytes [offset, offset + out.size()) of the tensor, with as many threads as are worth it and there are.
/// Errors: kResourceExhausted, no memory.
Status draw(const RandomTensor& tensor, std::uint64_t offset, std::span<std::byte> out);

}  // namespace commissure
