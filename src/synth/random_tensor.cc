#include "synth/random_tensor.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <new>

#include "core/check.h"
#include "core/dtype.h"
#include "core/index.h"
#include "kernels/quant.h"
#include "kernels/quantise.h"
#include "synth/random_values.h"
#include "weights/parallel_rows.h"

namespace commissure {
namespace {

/// What a level becomes in rows of one spread. Products and sums in statements of their own: no compiler fuses them.
float value_of(const RandomRows& rows, std::size_t level) {
  const double steps = static_cast<double>(static_cast<int>(level) - kMeanLevel) / kLevelDeviation;
  const double apart = rows.spread.deviation * steps;
  const double value = rows.spread.mean + apart;
  return static_cast<float>(value - rows.offset);
}

/// One thread's way through a tensor: the table of the rows it is at, and room for a row.
class RowMaker {
 public:
  RowMaker(const RandomTensor& tensor, std::size_t row_bytes)
      : tensor_(tensor), n_cols_(to_size(tensor.info.shape.back())), row_(row_bytes) {
    if (is_quantised(tensor.info.dtype)) floats_.resize(n_cols_);
  }

  /// False: a value does not fit the type. `out` is as long as a row. Allocates nothing.
  bool make(std::int64_t row, std::byte* out) {
    find(row);
    const std::int64_t drawn = source_row(row - rows_->first);
    switch (tensor_.info.dtype) {
      case DType::kBF16:
      case DType::kF16: draw_row(rows_->key, drawn, halves_, n_cols_, out); return true;
      case DType::kF32: draw_row(rows_->key, drawn, table_, n_cols_, out); return true;
      default:
        draw_row(rows_->key, drawn, table_, n_cols_, reinterpret_cast<std::byte*>(floats_.data()));
        return quantise(tensor_.info.dtype, floats_, out);
    }
  }

  std::span<std::byte> room() { return row_; }

 private:
  void find(std::int64_t row) {
    if (rows_ != nullptr && row >= rows_->first && row < rows_->first + rows_->count) return;
    rows_ = &*std::prev(std::ranges::upper_bound(tensor_.rows, row, {}, &RandomRows::first));
    for (std::size_t level = 0; level < table_.size(); ++level) {
      table_[level] = value_of(*rows_, level);
      halves_[level] = tensor_.info.dtype == DType::kF16 ? float_to_half(table_[level]) : to_bf16(table_[level]);
    }
  }

  /// The row that stands there before a converter interleaves the two halves of each head.
  std::int64_t source_row(std::int64_t row) const {
    const std::int64_t dim = rows_->interleaved_dim;
    if (dim == 0) return row;
    const std::int64_t in_head = row % dim;
    return row - in_head + in_head % 2 * (dim / 2) + in_head / 2;
  }

  const RandomTensor& tensor_;
  const std::size_t n_cols_;
  const RandomRows* rows_ = nullptr;
  std::array<float, kLevels> table_{};
  std::array<std::uint16_t, kLevels> halves_{};
  std::vector<std::byte> row_;
  std::vector<float> floats_;
};

Status draw_rows(const RandomTensor& tensor, std::uint64_t offset, std::span<std::byte> out) {
  const std::uint64_t length = row_bytes(tensor.info.dtype, tensor.info.shape.back());
  const auto first = static_cast<std::int64_t>(offset / length);
  const auto last = static_cast<std::int64_t>((offset + out.size() + length - 1) / length);
  const int n_parts = parts_of(last - first, tensor.info.shape.back());
  std::vector<RowMaker> makers;
  makers.reserve(to_size(n_parts));
  for (int part = 0; part < n_parts; ++part) makers.emplace_back(tensor, length);
  const std::int64_t broken = for_rows(last - first, n_parts, [&](std::int64_t index, int part) {
    RowMaker& maker = makers[to_size(part)];
    const std::uint64_t begin = to_size(first + index) * length;  // of the row, in the tensor
    if (begin >= offset && begin + length <= offset + out.size()) {
      return maker.make(first + index, out.data() + (begin - offset));
    }
    if (!maker.make(first + index, maker.room().data())) return false;
    const std::uint64_t from = std::max(begin, offset), to = std::min(begin + length, offset + out.size());
    std::memcpy(out.data() + (from - offset), maker.room().data() + (from - begin), to - from);
    return true;
  });
  CHECK(broken < 0);  // the spreads are ours
  return {};
}

}  // namespace

Status draw(const RandomTensor& tensor, std::uint64_t offset, std::span<std::byte> out) {
  if (out.empty()) return {};
  if (tensor.rows.empty()) {
    std::memcpy(out.data(), std::as_bytes(std::span(tensor.given)).data() + offset, out.size());
    return {};
  }
  try {
    return draw_rows(tensor, offset, out);
  } catch (const std::bad_alloc&) {
    return Error(Code::kResourceExhausted, "tensor ", tensor.info.name, ": no memory to make it");
  }
}

}  // namespace commissure
