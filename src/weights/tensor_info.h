#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "core/result.h"

namespace commissure {

/// One tensor of a checkpoint: where its bytes lie and what they are.
struct TensorInfo {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;  ///< slowest first, as [outputs, inputs]
  int source = 0;                   ///< index of the checkpoint's file that holds it
  std::uint64_t offset = 0;         ///< of the first byte, from that file's start
  std::uint64_t n_bytes = 0;

  std::int64_t n_elements() const;
};

/// Product of a shape's dimensions, or nothing when one is negative or the product does not fit.
std::optional<std::int64_t> count_elements(const std::vector<std::int64_t>& shape);

/// "[640, 2048]".
std::string shape_text(const std::vector<std::int64_t>& shape);

/// Checks that no two tensors share bytes. All tensors are of one file, `file`, which the message names.
/// Errors: kDataLoss, with both names and ranges.
Status check_overlaps(std::vector<const TensorInfo*> tensors, const std::string& file);

}  // namespace commissure
