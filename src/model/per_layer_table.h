#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "core/result.h"
#include "model/tensor_names.h"
#include "weights/checkpoint.h"

namespace commissure {

/// The columns that one part's layers take of the table of per-layer embeddings, in host memory and in the dtype of the
/// file. Of a mapped file it is the file's own pages, and a step touches only those of its tokens' rows; from a source
/// that is read (HTTP, Cloud Storage, --read-weights) it is a copy of these columns, since a row lies over the layers
/// of all stages. Never on a device.
/// Threading: const functions from any thread.
class PerLayerTable {
 public:
  /// Bytes read so far, of the whole table. False stops the load.
  using Progress = std::function<bool(std::uint64_t done_bytes)>;

  /// `expected` and `whole` as expected_table and table_tensor give them.
  /// Errors: kInvalidArgument, the columns of a layer are no whole number of the dtype's blocks; kCancelled; else as
  /// Checkpoint::load.
  static Result<PerLayerTable> load(const Checkpoint& checkpoint, const ExpectedTensor& expected,
                                    const TensorInfo& whole, const Progress& progress);

  /// Values of one row: layers of the part * per_layer_width.
  int n_cols() const { return n_cols_; }
  /// The row of `token`, times `scale`. `token` is below the model's n_vocab; `out` has n_cols() values.
  void gather(std::int32_t token, float scale, std::span<float> out) const;

 private:
  PerLayerTable() = default;
  Status copy_columns(const Checkpoint& checkpoint, const TensorInfo& whole, const Progress& progress);

  DType dtype_ = DType::kF32;
  int n_cols_ = 0;
  std::size_t stride_ = 0;  ///< bytes between rows
  std::size_t offset_ = 0;  ///< of the part's columns in a row
  ByteRange mapped_;
  std::vector<std::byte> copy_;
  const std::byte* data_ = nullptr;
};

}  // namespace commissure
