#include "vision/vision_weights.h"

#include <cstring>
#include <functional>
#include <span>
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
  Shape shape;  ///< empty: one value, whatever its shape
  std::unique_ptr<Matrix>* matrix = nullptr;
  DeviceBuffer* vector = nullptr;
  std::span<float> values = {};                                               ///< on the host
  float offset = 0.0f;                                                        ///< added to a vector
  MatrixSource (*changed)(const MatrixSource&, const VisionSpec&) = nullptr;  ///< what is loaded in its place
};

class WantedList {
 public:
  explicit WantedList(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

  void matrix(const std::string& name, Shape shape, std::unique_ptr<Matrix>& to) {
    list_.push_back({.name = name, .shape = std::move(shape), .matrix = &to});
  }
  void vector(const std::string& name, Shape shape, DeviceBuffer& to, float offset = 0.0f) {
    list_.push_back({.name = name, .shape = std::move(shape), .vector = &to, .offset = offset});
  }
  void values(const std::string& name, Shape shape, std::span<float> to) {
    list_.push_back({.name = name, .shape = std::move(shape), .values = to});
  }
  /// The last one, changed.
  void change(MatrixSource (*changed)(const MatrixSource&, const VisionSpec&)) { list_.back().changed = changed; }

  void biased(const std::string& name, Shape shape, VisionProduct& to) {
    const std::int64_t n_outputs = shape[0];
    matrix(name + ".weight", std::move(shape), to.weight);
    vector(name + ".bias", {n_outputs}, to.bias);
  }
  void layer_norm(const std::string& name, std::int64_t n, VisionNorm& to) {
    vector(name + ".weight", {n}, to.weight);
    vector(name + ".bias", {n}, to.bias);
  }
  void rms_norm(const std::string& name, std::int64_t n, VisionNorm& to) { vector(name + ".weight", {n}, to.weight); }
  /// Those that the file has.
  void ranges(const std::string& name, VisionProduct& to) {
    for (const auto& [end, limit] : {std::pair{".input_min", &to.inputs.low},
                                     {".input_max", &to.inputs.high},
                                     {".output_min", &to.outputs.low},
                                     {".output_max", &to.outputs.high}}) {
      if (checkpoint_.find(name + end) != nullptr) values(name + end, {}, {limit, 1});
    }
  }
  std::vector<Wanted> take() { return std::move(list_); }

 private:
  const Checkpoint& checkpoint_;
  std::vector<Wanted> list_;
};

MatrixSource source_of(const MatrixSource& like, std::int64_t n_rows, std::int64_t n_cols, std::vector<float> values) {
  const auto owner = std::make_shared<std::vector<float>>(std::move(values));  // shared: the matrix keeps it
  return {.name = like.name,
          .dtype = DType::kF32,
          .n_rows = n_rows,
          .n_cols = n_cols,
          .data = {std::as_bytes(std::span(*owner)), owner}};
}

/// Value [r, c] of whatever floats or blocks as F32 at index(r, c).
std::vector<float> rearranged(const MatrixSource& source, const std::function<std::size_t(int r, int c)>& index) {
  std::vector<float> values(n_elements(source.n_rows, source.n_cols));
  std::vector<float> row(to_size(source.n_cols));
  for (int r = 0; r < source.n_rows; ++r) {
    dequantise(source.dtype, source.data.bytes.data() + to_size(r) * row_bytes(source.dtype, source.n_cols), row);
    for (int c = 0; c < source.n_cols; ++c) values[index(r, c)] = row[to_size(c)];
  }
  return values;
}

/// [rows, columns] as [columns, rows].
MatrixSource turned(const MatrixSource& source, const VisionSpec&) {
  return source_of(source, source.n_cols, source.n_rows,
                   rearranged(source, [&](int r, int c) { return n_elements(c, source.n_rows) + to_size(r); }));
}

/// Patches [y, x, colour] as [colour, y, x].
MatrixSource colours_first(const MatrixSource& source, const VisionSpec& spec) {
  const int n_pixels = spec.patch_size * spec.patch_size;
  return source_of(source, source.n_rows, source.n_cols, rearranged(source, [&](int r, int c) {
                     return n_elements(r, source.n_cols) + to_size(c % 3 * n_pixels + c / 3);
                   }));
}

/// Where value `i` of a head goes when its middle quarters change places.
int quarters_changed(int i, int head_dim) {
  const int quarter = head_dim / 4, at = i / quarter;
  return at == 1 ? i + quarter : at == 2 ? i - quarter : i;
}

/// A vector of one head.
MatrixSource change_head(const MatrixSource& source, const VisionSpec& spec) {
  return source_of(source, source.n_rows, source.n_cols,
                   rearranged(source, [&](int, int c) { return to_size(quarters_changed(c, spec.head_dim())); }));
}

/// The rows of a matrix that makes heads; they stay as they are stored.
MatrixSource change_heads(const MatrixSource& source, const VisionSpec& spec) {
  const auto bytes = std::make_shared<std::vector<std::byte>>(source.data.bytes.size());  // shared: as in source_of
  const std::size_t n_bytes = row_bytes(source.dtype, source.n_cols);
  for (int row = 0; row < source.n_rows; ++row) {
    const int in_head = row % spec.head_dim();
    const int to = row - in_head + quarters_changed(in_head, spec.head_dim());
    std::memcpy(bytes->data() + to_size(to) * n_bytes, source.data.bytes.data() + to_size(row) * n_bytes, n_bytes);
  }
  MatrixSource changed = source;
  changed.data = {std::span<const std::byte>(*bytes), bytes};
  return changed;
}

/// Whether a file has the names of the products of a feed-forward the other way round, as some converters wrote them.
bool has_swapped_names(const Checkpoint& checkpoint, const VisionNames& names, const VisionSpec& spec) {
  const TensorInfo* up = checkpoint.find(names.layers + "0." + names.up + ".weight");
  return spec.d_ff != spec.d_model && up != nullptr && up->shape == Shape{spec.d_model, spec.d_ff};
}

std::vector<Wanted> wanted_of_gemma3(const Checkpoint& checkpoint, const VisionNames& names, const VisionSpec& spec,
                                     VisionWeights& weights) {
  const std::int64_t d = spec.d_model;
  const bool is_swapped = has_swapped_names(checkpoint, names, spec);
  WantedList list(checkpoint);
  list.biased(names.patch, {d, 3, spec.patch_size, spec.patch_size}, weights.patch);
  list.vector(names.position, {spec.most_patches(), d}, weights.position);
  for (int layer = 0; layer < spec.n_layers; ++layer) {
    VisionLayer& to = weights.layers[to_size(layer)];
    const std::string before = names.layers + std::to_string(layer) + ".";
    list.layer_norm(before + names.norm1, d, to.norm1);
    list.biased(before + names.query, {d, d}, to.query);
    list.biased(before + names.key, {d, d}, to.key);
    list.biased(before + names.value, {d, d}, to.value);
    list.biased(before + names.output, {d, d}, to.output);
    list.layer_norm(before + names.norm2, d, to.norm2);
    list.biased(before + (is_swapped ? names.down : names.up), {spec.d_ff, d}, to.up);
    list.biased(before + (is_swapped ? names.up : names.down), {d, spec.d_ff}, to.down);
  }
  list.layer_norm(names.post_norm, d, weights.post_norm);
  list.vector(names.row_norm, {d}, weights.row_norm, spec.row_norm_offset);
  list.matrix(names.projection, {d, spec.d_text}, weights.projection);
  list.change(turned);
  return list.take();
}

std::vector<Wanted> wanted_of_gemma4(const Checkpoint& checkpoint, const VisionNames& names, const VisionSpec& spec,
                                     VisionWeights& weights) {
  const std::int64_t d = spec.d_model, head_dim = spec.head_dim();
  WantedList list(checkpoint);
  const auto product = [&](const std::string& name, Shape shape, VisionProduct& to) {
    if (spec.has_limits) list.ranges(name, to);
    list.matrix(name + names.weight, std::move(shape), to.weight);
  };
  const Shape patch = {d, 3, spec.patch_size, spec.patch_size};
  list.matrix(names.patch + ".weight", names.patch_is_flat ? Shape{d, spec.patch_values()} : patch,
              weights.patch.weight);
  if (names.patch_is_flat) list.change(colours_first);
  list.vector(names.position, {2, spec.n_positions, d}, weights.position);
  for (int layer = 0; layer < spec.n_layers; ++layer) {
    VisionLayer& to = weights.layers[to_size(layer)];
    const std::string before = names.layers + std::to_string(layer) + ".";
    list.rms_norm(before + names.norm1, d, to.norm1);
    product(before + names.query, {d, d}, to.query);
    list.change(change_heads);
    list.rms_norm(before + names.query_norm, head_dim, to.query_norm);
    list.change(change_head);
    product(before + names.key, {d, d}, to.key);
    list.change(change_heads);
    list.rms_norm(before + names.key_norm, head_dim, to.key_norm);
    list.change(change_head);
    product(before + names.value, {d, d}, to.value);
    product(before + names.output, {d, d}, to.output);
    list.rms_norm(before + names.branch_norm1, d, to.branch_norm1);
    list.rms_norm(before + names.norm2, d, to.norm2);
    product(before + names.gate, {spec.d_ff, d}, to.gate);
    product(before + names.up, {spec.d_ff, d}, to.up);
    product(before + names.down, {d, spec.d_ff}, to.down);
    list.rms_norm(before + names.branch_norm2, d, to.branch_norm2);
  }
  // An mmproj file has no key for it.
  if (spec.standardises || checkpoint.find(names.row_shift) != nullptr) {
    weights.row_shift.resize(to_size(d));
    weights.row_factor.resize(to_size(d));
    list.values(names.row_shift, {d}, weights.row_shift);
    list.values(names.row_factor, {d}, weights.row_factor);
  }
  list.matrix(names.projection, {spec.d_text, d}, weights.projection);
  return list.take();
}

Result<std::vector<Wanted>> wanted(const Checkpoint& checkpoint, const VisionSpec& spec, VisionWeights& weights) {
  const auto names = find_vision_names(checkpoint, spec.family);
  if (!names) {
    return Error(Code::kNotFound, checkpoint.location(), ": has no tensors of an image encoder (is it complete?)");
  }
  weights.layers.resize(to_size(spec.n_layers));
  return spec.family == VisionFamily::kGemma3 ? wanted_of_gemma3(checkpoint, *names, spec, weights)
                                              : wanted_of_gemma4(checkpoint, *names, spec, weights);
}

/// The first tensor that is missing ends it: a configuration may ask for far more than its file holds.
Result<std::vector<TensorInfo>> found(const Checkpoint& checkpoint, const std::vector<Wanted>& list) {
  std::vector<TensorInfo> tensors;
  for (const Wanted& want : list) {
    const TensorInfo& tensor = *TRY(checkpoint.require(want.name));
    const bool is_right = want.shape.empty() ? tensor.n_elements() == 1 : tensor.shape == want.shape;
    if (!is_right) {
      return Error(Code::kInvalidArgument, checkpoint.location(), ": tensor ", want.name, " is ",
                   shape_text(tensor.shape), ", expected ", want.shape.empty() ? "one value" : shape_text(want.shape));
    }
    if (tensor.dtype == DType::kI32 || tensor.dtype == DType::kU8) {
      return Error(Code::kInvalidArgument, checkpoint.location(), ": tensor ", want.name, " is of type ",
                   dtype_name(tensor.dtype), ", which holds no weights");
    }
    tensors.push_back(tensor);
  }
  return tensors;
}

MatrixSource as_source(const TensorInfo& tensor, ByteRange range) {
  // Of a convolution all that it multiplies lies in one row.
  const std::int64_t n_rows = tensor.shape.size() <= 1 ? 1 : tensor.shape[0];
  return {.name = tensor.name,
          .dtype = tensor.dtype,
          .n_rows = n_rows,
          .n_cols = tensor.n_elements() / n_rows,
          .data = {range.bytes, std::move(range.owner)}};
}

/// Errors: kInvalidArgument, a product's range holds nothing.
Status check_ranges(const Checkpoint& checkpoint, const VisionWeights& weights) {
  for (std::size_t i = 0; i < weights.layers.size(); ++i) {
    const VisionLayer& layer = weights.layers[i];
    for (const VisionProduct* product :
         {&layer.query, &layer.key, &layer.value, &layer.output, &layer.gate, &layer.up, &layer.down}) {
      for (const ValueRange& range : {product->inputs, product->outputs}) {
        if (range.low <= range.high) continue;
        return Error(Code::kInvalidArgument, checkpoint.location(), ": a product in layer ", i,
                     " of the image encoder has values cut to the range from ", range.low, " to ", range.high);
      }
    }
  }
  return {};
}

}  // namespace

Result<std::vector<TensorInfo>> vision_tensors(const Checkpoint& checkpoint, const VisionSpec& spec) {
  VisionWeights nowhere;
  return found(checkpoint, TRY(wanted(checkpoint, spec, nowhere)));
}

Result<std::uint64_t> vision_weight_bytes(const Checkpoint& checkpoint, const VisionSpec& spec) {
  std::uint64_t n_bytes = 0;
  for (const TensorInfo& tensor : TRY(vision_tensors(checkpoint, spec))) n_bytes += tensor.n_bytes;
  return n_bytes;
}

Result<VisionWeights> load_vision_weights(Backend& backend, const Checkpoint& checkpoint, const VisionSpec& spec,
                                          const LoadProgress& progress) {
  VisionWeights weights;
  const std::vector<Wanted> list = TRY(wanted(checkpoint, spec, weights));
  const std::vector<TensorInfo> tensors = TRY(found(checkpoint, list));
  std::uint64_t total_bytes = 0, done_bytes = 0;
  for (const TensorInfo& tensor : tensors) total_bytes += tensor.n_bytes;
  TensorReader reader(checkpoint, tensors);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    MatrixSource source = as_source(tensors[i], TRY(reader.next()));
    if (list[i].changed != nullptr) source = list[i].changed(source, spec);
    if (list[i].matrix != nullptr) {
      *list[i].matrix = TRY(backend.load_matrix(source));
    } else if (list[i].vector != nullptr) {
      *list[i].vector = TRY(backend.load_vector(source, list[i].offset));
    } else {
      dequantise(source.dtype, source.data.bytes.data(), list[i].values);
    }
    if (list[i].matrix == nullptr || list[i].changed != nullptr) checkpoint.release(tensors[i]);
    done_bytes += tensors[i].n_bytes;
    if (progress && !progress(done_bytes, total_bytes)) return Error(Code::kCancelled, "loading was stopped");
  }
  TRY(check_ranges(checkpoint, weights));
  return weights;
}

}  // namespace commissure
