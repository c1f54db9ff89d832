#include "synth/random_tensor.h"

#include <algorithm>
#include <array>
#include <cmath>
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

constexpr int kExponentBias = 127;

/// What a level becomes in rows of one spread. Products and sums in statements of their own: no compiler fuses them.
float value_of(const RandomRows& rows, std::size_t level) {
  const double steps = static_cast<double>(static_cast<int>(level) - kMeanLevel) / kLevelDeviation;
  const double apart = rows.spread.deviation * steps;
  const double value = rows.spread.mean + apart;
  return static_cast<float>(value - rows.offset);
}

/// All blocks of MXFP4 have one scale: the power of two at or below the deviation, so that all but one value in 370 or
/// fewer are within the format's 6.
int fp4_exponent(const Spread& spread) { return std::ilogb(spread.deviation); }

/// The code whose value is the nearest; the smaller one where two are.
std::uint8_t fp4_code(float value, int exponent) {
  const double doubled = std::ldexp(std::fabs(static_cast<double>(value)), 1 - exponent);
  int nearest = 0;
  for (int code = 1; code < 8; ++code) {
    if (std::fabs(doubled - kFp4Values[code]) < std::fabs(doubled - kFp4Values[nearest])) nearest = code;
  }
  return static_cast<std::uint8_t>(value < 0.0f ? nearest + 8 : nearest);
}

std::int64_t values_in_row(const RandomTensor& tensor) {
  return tensor.form == RowForm::kValues ? tensor.info.shape.back() : kFp4Block * tensor.info.shape[2];
}

std::size_t bytes_in_row(const RandomTensor& tensor) {
  const std::int64_t n = values_in_row(tensor);
  switch (tensor.form) {
    case RowForm::kCodes: return to_size(n / 2);
    case RowForm::kScales: return to_size(n / kFp4Block);
    case RowForm::kValues: break;
  }
  return row_bytes(tensor.info.dtype, n);
}

/// One thread's way through a tensor: the tables of the rows it is at, and room for a row.
class RowMaker {
 public:
  explicit RowMaker(const RandomTensor& tensor)
      : tensor_(tensor), n_cols_(to_size(values_in_row(tensor))), row_(bytes_in_row(tensor)) {
    if (tensor.info.dtype == DType::kQ8_0) floats_.resize(n_cols_);
    if (is_fp4()) codes_of_row_.resize(n_cols_);
  }

  /// False: a value does not fit the type. `out` is as long as a row. Allocates nothing.
  bool make(std::int64_t row, std::byte* out) {
    find(row);
    if (is_fp4()) {
      make_fp4(row, out);
      return true;
    }
    const RowPart part = part_of(row, rows_->key);
    switch (tensor_.info.dtype) {
      case DType::kBF16:
      case DType::kF16: draw_values(part, halves_, out); return true;
      case DType::kF32: draw_values(part, table_, out); return true;
      default:
        draw_row(part, table_, reinterpret_cast<std::byte*>(floats_.data()));
        return quantise(tensor_.info.dtype, floats_, out);
    }
  }

  std::span<std::byte> room() { return row_; }

 private:
  bool is_fp4() const { return tensor_.form != RowForm::kValues || tensor_.info.dtype == DType::kMXFP4; }

  void find(std::int64_t row) {
    if (rows_ != nullptr && row >= rows_->first && row < rows_->first + rows_->count) return;
    const Spread last = rows_ != nullptr ? rows_->spread : Spread{};
    const double last_offset = rows_ != nullptr ? rows_->offset : 0.0;
    rows_ = &*std::prev(std::ranges::upper_bound(tensor_.rows, row, {}, &RandomRows::first));
    if (rows_->spread == last && rows_->offset == last_offset) return;  // experts are many, and alike
    for (std::size_t level = 0; level < table_.size(); ++level) {
      table_[level] = value_of(*rows_, level);
      halves_[level] = tensor_.info.dtype == DType::kF16 ? float_to_half(table_[level]) : to_bf16(table_[level]);
      if (is_fp4()) codes_[level] = fp4_code(table_[level], fp4_exponent(rows_->spread));
    }
  }

  RowPart part_of(std::int64_t row, std::uint64_t key) const {
    return {key, rows_->drawn_row + source_row(row - rows_->first), to_size(rows_->drawn_column), n_cols_};
  }

  /// The row that stands there before a converter interleaves the two halves of each head.
  std::int64_t source_row(std::int64_t row) const {
    const std::int64_t dim = rows_->interleaved_dim;
    if (dim == 0) return row;
    const std::int64_t in_head = row % dim;
    return row - in_head + in_head % 2 * (dim / 2) + in_head / 2;
  }

  template <typename T>
  void draw_values(RowPart part, const std::array<T, kLevels>& table, std::byte* out) const {
    if (rows_->odd_key == 0) return draw_row(part, table, out);
    part.n /= 2;
    draw_row<2>(part, table, out);
    part.key = rows_->odd_key;
    draw_row<2>(part, table, out + sizeof(T));
  }

  void make_fp4(std::int64_t row, std::byte* out) {
    const auto e = static_cast<std::uint8_t>(fp4_exponent(rows_->spread) + kExponentBias);
    if (tensor_.form == RowForm::kScales) {
      std::memset(out, e, row_.size());
      return;
    }
    RowPart part = part_of(row, rows_->key);
    if (rows_->odd_key != 0) {
      if (part.row % 2 != 0) part.key = rows_->odd_key;
      part.row /= 2;
    }
    draw_row(part, codes_, reinterpret_cast<std::byte*>(codes_of_row_.data()));
    const auto two = [](std::uint8_t low, std::uint8_t high) { return static_cast<std::uint8_t>(low | high << 4); };
    const std::uint8_t* from = codes_of_row_.data();
    if (tensor_.form == RowForm::kCodes) {
      for (std::size_t i = 0; i < n_cols_; i += 2) *out++ = std::byte{two(from[i], from[i + 1])};
      return;
    }
    for (std::size_t i = 0; i < n_cols_; i += to_size(kFp4Block), out += sizeof(BlockMXFP4)) {
      BlockMXFP4 block;
      block.e = e;
      for (std::size_t j = 0; j < 16; ++j) block.qs[j] = two(from[i + j], from[i + j + 16]);
      std::memcpy(out, &block, sizeof block);
    }
  }

  const RandomTensor& tensor_;
  const std::size_t n_cols_;
  const RandomRows* rows_ = nullptr;
  std::array<float, kLevels> table_{};
  std::array<std::uint16_t, kLevels> halves_{};
  std::array<std::uint8_t, kLevels> codes_{};
  std::vector<std::byte> row_;
  std::vector<float> floats_;
  std::vector<std::uint8_t> codes_of_row_;
};

Status draw_rows(const RandomTensor& tensor, std::uint64_t offset, std::span<std::byte> out) {
  const std::uint64_t length = bytes_in_row(tensor);
  const auto first = static_cast<std::int64_t>(offset / length);
  const auto last = static_cast<std::int64_t>((offset + out.size() + length - 1) / length);
  const int n_parts = parts_of(last - first, values_in_row(tensor));
  std::vector<RowMaker> makers;
  makers.reserve(to_size(n_parts));
  for (int part = 0; part < n_parts; ++part) makers.emplace_back(tensor);
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
