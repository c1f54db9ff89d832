#include "model/per_layer_table.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/index.h"
#include "kernels/quant.h"

namespace commissure {

namespace {

constexpr std::uint64_t kReadBytes = 16u << 20;  // of the table at once, where columns are copied

}  // namespace

Result<PerLayerTable> PerLayerTable::load(const Checkpoint& checkpoint, const ExpectedTensor& expected,
                                          const TensorInfo& whole, const Progress& progress) {
  const std::int64_t block = block_size(whole.dtype).n_elements;
  if (expected.first % block != 0 || expected.shape[1] % block != 0) {
    return Error(Code::kInvalidArgument, expected.name, " is stored as ", dtype_name(whole.dtype), " in blocks of ",
                 block, " values, which columns ", expected.first, " to ", expected.first + expected.shape[1],
                 " would cut: cut the chain elsewhere");
  }
  PerLayerTable table;
  table.dtype_ = whole.dtype;
  table.n_cols_ = static_cast<int>(expected.shape[1]);
  table.stride_ = row_bytes(whole.dtype, whole.shape[1]);
  table.offset_ = row_bytes(whole.dtype, expected.first);
  if (checkpoint.is_mapped()) {
    table.mapped_ = TRY(checkpoint.load(whole));
    table.data_ = table.mapped_.bytes.data();
  } else {
    TRY(table.copy_columns(checkpoint, whole, progress));
  }
  return table;
}

Status PerLayerTable::copy_columns(const Checkpoint& checkpoint, const TensorInfo& whole, const Progress& progress) {
  const std::size_t n_rows = to_size(whole.shape[0]), wanted = row_bytes(dtype_, n_cols_);
  const std::size_t rows_at_once = std::max<std::size_t>(1, kReadBytes / stride_);
  copy_.resize(n_rows * wanted);
  for (std::size_t first = 0; first < n_rows; first += rows_at_once) {
    TensorInfo rows = whole;
    const std::size_t n = std::min(rows_at_once, n_rows - first);
    rows.shape[0] = static_cast<std::int64_t>(n);
    rows.offset += first * stride_;
    rows.n_bytes = n * stride_;
    const ByteRange range = TRY(checkpoint.load(rows));
    for (std::size_t row = 0; row < n; ++row) {
      std::memcpy(copy_.data() + (first + row) * wanted, range.bytes.data() + row * stride_ + offset_, wanted);
    }
    if (progress && !progress((first + n) * stride_)) return Error(Code::kCancelled, "loading was stopped");
  }
  stride_ = wanted;
  offset_ = 0;
  data_ = copy_.data();
  return {};
}

void PerLayerTable::gather(std::int32_t token, float scale, std::span<float> out) const {
  DCHECK(count_of(out) == n_cols_ && token >= 0);
  dequantise(dtype_, data_ + to_size(token) * stride_ + offset_, out);
  for (float& value : out) value *= scale;
}

}  // namespace commissure
