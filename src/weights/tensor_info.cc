#include "weights/tensor_info.h"

#include <algorithm>

#include <fmt/ranges.h>

#include "weights/header_reader.h"

namespace commissure {

std::int64_t TensorInfo::n_elements() const { return count_elements(shape).value_or(0); }

std::optional<std::int64_t> count_elements(const std::vector<std::int64_t>& shape) {
  std::int64_t n = 1;
  for (const std::int64_t dimension : shape) {
    if (dimension < 0 || __builtin_mul_overflow(n, dimension, &n)) return std::nullopt;
  }
  return n;
}

std::string shape_text(const std::vector<std::int64_t>& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

Status check_overlaps(std::vector<const TensorInfo*> tensors, const std::string& file) {
  std::ranges::sort(tensors, {}, &TensorInfo::offset);
  for (std::size_t i = 1; i < tensors.size(); ++i) {
    const TensorInfo& before = *tensors[i - 1];
    const TensorInfo& after = *tensors[i];
    if (before.offset + before.n_bytes > after.offset) {
      return Error(Code::kDataLoss, file, ": tensors ", printable(before.name), " (bytes ", before.offset, " to ",
                   before.offset + before.n_bytes, ") and ", printable(after.name), " (from byte ", after.offset,
                   ") overlap: the file is corrupt");
    }
  }
  return {};
}

}  // namespace commissure
