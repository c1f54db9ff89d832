#include "vision/vision_weights.h"

#include <functional>
#include <string>
#include <utility>

#include "core/index.h"
#include "kernels/quant.h"
#include "vision/vision_names.h"
#include "weights/tensor_reader.h"

namespace commissure {
namespace {

using Shape = std::vector<std::int64_t>;

/// A tensor that is wanted, and where it goes: one of the places is set.
struct Wanted {
  std::string name;
  Shape shape;
  std::unique_ptr<Matrix>* matrix = nullptr;
  DeviceBuffer* vector = nullptr;
  float offset = 0.0f;     ///< added to a vector
  bool is_turned = false;  ///< the matrix is stored [inputs, outputs]
};

class WantedList {
 public:
  void pair(const std::string& name, Shape shape, VisionProduct& to) {
    const std::int64_t n_outputs = shape[0];
    list_.push_back({.name = name + ".weight", .shape = std::move(shape), .matrix = &to.weight});
    vector(name + ".bias", {n_outputs}, to.bias);
  }
  void pair(const std::string& name, std::int64_t n, VisionNorm& to) {
    vector(name + ".weight", {n}, to.weight);
    vector(name + ".bias", {n}, to.bias);
  }
  void vector(const std::string& name, Shape shape, DeviceBuffer& to, float offset = 0.0f) {
    list_.push_back({.name = name, .shape = std::move(shape), .vector = &to, .offset = offset});
  }
  void turned(const std::string& name, Shape shape, std::unique_ptr<Matrix>& to) {
    list_.push_back({.name = name, .shape = std::move(shape), .matrix = &to, .is_turned = true});
  }
  std::vector<Wanted> take() { return std::move(list_); }

 private:
  std::vector<Wanted> list_;
};

/// Whether a file has the names of the products of a feed-forward the other way round, as some converters wrote them.
bool has_swapped_names(const Checkpoint& checkpoint, const VisionNames& names, const VisionSpec& spec) {
  const TensorInfo* up = checkpoint.find(names.layers + "0." + names.up + ".weight");
  return spec.d_ff != spec.d_model && up != nullptr && up->shape == Shape{spec.d_model, spec.d_ff};
}

std::vector<Wanted> wanted(const Checkpoint& checkpoint, const VisionNames& names, const VisionSpec& spec,
                           VisionWeights& weights) {
  const std::int64_t d = spec.d_model;
  const bool is_swapped = has_swapped_names(checkpoint, names, spec);
  WantedList list;
  list.pair(names.patch, {d, 3, spec.patch_size, spec.patch_size}, weights.patch);
  list.vector(names.position, {spec.n_patches(), d}, weights.position);
  weights.layers.resize(spec.n_layers);
  for (int layer = 0; layer < spec.n_layers; ++layer) {
    VisionLayer& to = weights.layers[layer];
    const std::string before = names.layers + std::to_string(layer) + ".";
    list.pair(before + names.norm1, d, to.norm1);
    list.pair(before + names.query, {d, d}, to.query);
    list.pair(before + names.key, {d, d}, to.key);
    list.pair(before + names.value, {d, d}, to.value);
    list.pair(before + names.output, {d, d}, to.output);
    list.pair(before + names.norm2, d, to.norm2);
    list.pair(before + (is_swapped ? names.down : names.up), {spec.d_ff, d}, to.up);
    list.pair(before + (is_swapped ? names.up : names.down), {d, spec.d_ff}, to.down);
  }
  list.pair(names.post_norm, d, weights.post_norm);
  list.vector(names.row_norm, {d}, weights.row_norm, spec.row_norm_offset);
  list.turned(names.projection, {d, spec.d_text}, weights.projection);
  return list.take();
}

Result<std::vector<Wanted>> named(const Checkpoint& checkpoint, const VisionSpec& spec, VisionWeights& weights) {
  if (const auto names = find_vision_names(checkpoint)) return wanted(checkpoint, *names, spec, weights);
  return Error(Code::kNotFound, checkpoint.location(), ": has no tensors of an image encoder (is it complete?)");
}

/// The first tensor that is missing ends it: a configuration may ask for far more than its file holds.
Result<std::vector<TensorInfo>> found(const Checkpoint& checkpoint, const std::vector<Wanted>& list) {
  std::vector<TensorInfo> tensors;
  for (const Wanted& want : list) {
    const TensorInfo& tensor = *TRY(checkpoint.require(want.name));
    if (tensor.shape != want.shape) {
      return Error(Code::kInvalidArgument, checkpoint.location(), ": tensor ", want.name, " is ",
                   shape_text(tensor.shape), ", expected ", shape_text(want.shape));
    }
    if (tensor.dtype == DType::kI32 || tensor.dtype == DType::kU8) {
      return Error(Code::kInvalidArgument, checkpoint.location(), ": tensor ", want.name, " is of type ",
                   dtype_name(tensor.dtype), ", which holds no weights");
    }
    tensors.push_back(tensor);
  }
  return tensors;
}

/// [rows, columns] of whatever floats or blocks as F32 [columns, rows].
MatrixSource turned(const MatrixSource& source) {
  const auto n_rows = to_size(source.n_rows), n_cols = to_size(source.n_cols);
  const auto values = std::make_shared<std::vector<float>>(n_rows * n_cols);  // shared: the matrix keeps it
  std::vector<float> row(n_cols);
  for (std::size_t r = 0; r < n_rows; ++r) {
    dequantise(source.dtype, source.data.bytes.data() + r * row_bytes(source.dtype, source.n_cols), row);
    for (std::size_t c = 0; c < n_cols; ++c) (*values)[c * n_rows + r] = row[c];
  }
  return {.name = source.name,
          .dtype = DType::kF32,
          .n_rows = source.n_cols,
          .n_cols = source.n_rows,
          .data = {std::as_bytes(std::span(*values)), values}};
}

MatrixSource as_source(const TensorInfo& tensor, ByteRange range) {
  // Of a convolution all that it multiplies lies in one row.
  const std::int64_t n_rows = tensor.shape.size() == 1 ? 1 : tensor.shape[0];
  return {.name = tensor.name,
          .dtype = tensor.dtype,
          .n_rows = n_rows,
          .n_cols = tensor.n_elements() / n_rows,
          .data = {range.bytes, std::move(range.owner)}};
}

}  // namespace

Result<std::vector<TensorInfo>> vision_tensors(const Checkpoint& checkpoint, const VisionSpec& spec) {
  VisionWeights nowhere;
  return found(checkpoint, TRY(named(checkpoint, spec, nowhere)));
}

Result<std::uint64_t> vision_weight_bytes(const Checkpoint& checkpoint, const VisionSpec& spec) {
  std::uint64_t n_bytes = 0;
  for (const TensorInfo& tensor : TRY(vision_tensors(checkpoint, spec))) n_bytes += tensor.n_bytes;
  return n_bytes;
}

Result<VisionWeights> load_vision_weights(Backend& backend, const Checkpoint& checkpoint, const VisionSpec& spec,
                                          const LoadProgress& progress) {
  VisionWeights weights;
  const std::vector<Wanted> list = TRY(named(checkpoint, spec, weights));
  const std::vector<TensorInfo> tensors = TRY(found(checkpoint, list));
  std::uint64_t total_bytes = 0, done_bytes = 0;
  for (const TensorInfo& tensor : tensors) total_bytes += tensor.n_bytes;
  TensorReader reader(checkpoint, tensors);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const MatrixSource source = as_source(tensors[i], TRY(reader.next()));
    if (list[i].vector != nullptr) {
      *list[i].vector = TRY(backend.load_vector(source, list[i].offset));
    } else {
      *list[i].matrix = TRY(backend.load_matrix(list[i].is_turned ? turned(source) : source));
    }
    if (list[i].vector != nullptr || list[i].is_turned) checkpoint.release(tensors[i]);
    done_bytes += tensors[i].n_bytes;
    if (progress && !progress(done_bytes, total_bytes)) return Error(Code::kCancelled, "loading was stopped");
  }
  return weights;
}

}  // namespace commissure
