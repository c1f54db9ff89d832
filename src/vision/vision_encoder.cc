#include "vision/vision_encoder.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/check.h"
#include "core/index.h"

namespace commissure {
namespace {

constexpr int kBlock = 64;  // positions of a KV block

int n_blocks(int n_patches) { return (n_patches + kBlock - 1) / kBlock; }

int chunk_rows(const VisionSpec& spec) { return std::min(VisionEncoder::kChunk, spec.most_patches()); }

int widest(const VisionSpec& spec) { return std::max(spec.d_model, spec.d_ff); }

/// Floats of the buffers that Gemma 4 alone has, by row of a chunk, and by patch.
std::size_t further_chunk_floats(const VisionSpec& spec) {
  return spec.family == VisionFamily::kGemma4 ? to_size(spec.d_ff + widest(spec)) : 0;
}
std::size_t further_patch_floats(const VisionSpec& spec) {
  return spec.family == VisionFamily::kGemma4 ? to_size(spec.head_dim()) : 0;
}

Result<DeviceBuffer> allocate_floats(Backend& backend, std::size_t n) { return backend.allocate(n * sizeof(float)); }

std::span<const float> as_floats(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const float*>(bytes.data()), bytes.size() / sizeof(float)};
}

/// Of a head, a half for the columns of patches and one for the rows. Source: transformers' axial rope.
RopeSpec make_rope(const VisionSpec& spec) {
  RopeSpec rope;
  const int n_pairs = spec.family == VisionFamily::kGemma4 ? spec.head_dim() / 4 : 0;
  for (int i = 0; i < 2 * n_pairs; ++i) {
    const float exponent = static_cast<float>(i % n_pairs) / static_cast<float>(n_pairs);
    rope.frequencies.push_back(1.0f / std::pow(spec.rope_theta, exponent));
  }
  return rope;
}

}  // namespace

VisionEncoder::VisionEncoder(Backend& backend, const VisionSpec& spec, VisionWeights weights)
    : backend_(backend), spec_(spec), weights_(std::move(weights)), rope_(make_rope(spec)) {}

Result<std::unique_ptr<VisionEncoder>> VisionEncoder::create(Backend& backend, const VisionSpec& spec,
                                                             VisionWeights weights) {
  if (!backend.has_layer_norm()) {
    return Error(Code::kUnimplemented, "device ", backend.info().device, " has no kernels for image encoders; cpu has");
  }
  TRY(backend.check_heads({spec.n_heads, spec.n_heads, spec.head_dim()}));
  std::unique_ptr<VisionEncoder> encoder(new VisionEncoder(backend, spec, std::move(weights)));
  TRY(encoder->allocate());
  return encoder;
}

std::size_t VisionEncoder::scratch_bytes(const Backend& backend, const VisionSpec& spec) {
  const int n = chunk_rows(spec);
  const std::size_t floats = n_elements(spec.most_patches(), spec.d_model) + 4 * n_elements(n, spec.d_model) +
                             n_elements(n, spec.d_ff) + to_size(widest(spec)) + 2 * n_elements(n, spec.patch_values()) +
                             n_elements(spec.most_rows(), spec.d_model) + n_elements(spec.most_rows(), spec.d_text) +
                             to_size(n) * further_chunk_floats(spec) +
                             to_size(spec.most_patches()) * further_patch_floats(spec);
  const HeadLayout heads = {spec.n_heads, spec.n_heads, spec.head_dim()};
  return floats * sizeof(float) + to_size(n_blocks(spec.most_patches())) * backend.kv_block_bytes(heads, KvType::kBF16);
}

Status VisionEncoder::allocate() {
  const int n = chunk_rows(spec_), n_patches = spec_.most_patches(), n_rows = spec_.most_rows();
  x_ = TRY(allocate_floats(backend_, n_elements(n_patches, spec_.d_model)));
  for (DeviceBuffer* buffer : {&normed_, &query_, &attended_, &branch_}) {
    *buffer = TRY(allocate_floats(backend_, n_elements(n, spec_.d_model)));
  }
  wide_ = TRY(allocate_floats(backend_, n_elements(n, spec_.d_ff)));
  if (spec_.family == VisionFamily::kGemma4) {
    gate_ = TRY(allocate_floats(backend_, n_elements(n, spec_.d_ff)));
    cut_ = TRY(allocate_floats(backend_, n_elements(n, widest(spec_))));
    turns_ = TRY(allocate_floats(backend_, n_elements(n_patches, spec_.head_dim())));
  }
  ones_ = TRY(allocate_floats(backend_, to_size(widest(spec_))));
  patches_ = TRY(allocate_floats(backend_, n_elements(n, spec_.patch_values())));
  pooled_ = TRY(allocate_floats(backend_, n_elements(n_rows, spec_.d_model)));
  rows_ = TRY(allocate_floats(backend_, n_elements(n_rows, spec_.d_text)));
  cache_ = TRY(backend_.allocate(to_size(n_blocks(n_patches)) * backend_.kv_block_bytes(heads(), KvType::kBF16)));
  const std::vector<float> ones(to_size(widest(spec_)), 1.0f);
  backend_.upload(ones_.ptr(), std::as_bytes(std::span(ones)));
  return {};
}

Rows VisionEncoder::scratch(const DeviceBuffer& buffer, int n_rows, int n_cols) const {
  return Rows::dense(buffer.ptr(), n_rows, n_cols);
}

/// The chunk's part of the residual stream.
Rows VisionEncoder::patches_of(const Chunk& chunk) const {
  return scratch(x_, spec_.most_patches(), spec_.d_model).slice(chunk.first, chunk.n);
}

void VisionEncoder::norm(const VisionNorm& weights, Rows x, Rows out) {
  if (weights.bias.ptr()) {
    backend_.layer_norm(x, weights.weight.ptr(), weights.bias.ptr(), spec_.norm_eps, out);
  } else {
    backend_.rms_norm(x, weights.weight.ptr(), spec_.norm_eps, out);
  }
}

/// Queries or keys; nothing where the tower norms and turns none.
void VisionEncoder::norm_and_turn(const VisionNorm& weights, const Chunk& chunk, Rows heads) {
  if (!weights.weight.ptr()) return;
  const Rows turns = scratch(turns_, spec_.most_patches(), spec_.head_dim()).slice(chunk.first, chunk.n);
  backend_.norm_rope(heads, spec_.n_heads, weights.weight.ptr(), spec_.norm_eps, rope_, turns);
}

/// No device has an operation for it, so it passes through the host; out may be x. Both are dense.
Status VisionEncoder::cut(Rows x, const ValueRange& range, Rows out) {
  const auto found = as_floats(TRY(backend_.peek(x.data, n_elements(x.n_rows, x.n_cols) * sizeof(float))));
  host_.resize(found.size());
  backend_.for_each(x.n_rows, [&](int row, int) {
    const std::size_t first = n_elements(row, x.n_cols);
    for (std::size_t i = first; i < first + to_size(x.n_cols); ++i)
      host_[i] = std::clamp(found[i], range.low, range.high);
  });
  backend_.upload(out.data, std::as_bytes(std::span<const float>(host_)));
  return {};
}

Status VisionEncoder::multiply(Rows x, const VisionProduct& product, Rows out) {
  if (product.inputs.is_limited()) {
    const Rows limited = scratch(cut_, x.n_rows, x.n_cols);
    TRY(cut(x, product.inputs, limited));
    x = limited;
  }
  const MatmulJob job = {.weight = product.weight.get(), .out = out, .bias = product.bias.ptr()};
  backend_.matmul(x, {&job, 1}, InputPlanes::kAll);
  return product.outputs.is_limited() ? cut(out, product.outputs, out) : Status();
}

/// The image's patches in chunks, and by what they turn.
void VisionEncoder::begin(const Image& image) {
  sides_ = {image.width, image.height};
  const int n_patches = spec_.n_patches(sides_), across = image.width / spec_.patch_size;
  chunks_.clear();
  for (int first = 0; first < n_patches; first += kChunk) {
    const int n = std::min(kChunk, n_patches - first);
    StepShape shape;
    shape.tokens.resize(to_size(n));
    SequenceSpan span = {.n_rows = n, .first_position = first, .blocks = {}, .seen_to = n_patches};
    for (int block = 0; block < n_blocks(n_patches); ++block) span.blocks.push_back(block);
    shape.sequences.push_back(std::move(span));
    chunks_.push_back({first, n, backend_.make_step_index(shape)});
  }
  if (rope_.frequencies.empty()) return;
  const int n_pairs = count_of(rope_.frequencies);
  std::vector<float> turns(n_elements(n_patches, 2 * n_pairs));
  for (int patch = 0; patch < n_patches; ++patch) {
    float* cosines = turns.data() + n_elements(patch, 2 * n_pairs);
    for (int pair = 0; pair < n_pairs; ++pair) {
      const int position = pair < n_pairs / 2 ? patch % across : patch / across;
      const float angle = static_cast<float>(position) * rope_.frequencies[to_size(pair)];
      cosines[pair] = std::cos(angle);
      cosines[n_pairs + pair] = std::sin(angle);
    }
  }
  backend_.upload(turns_.ptr(), std::as_bytes(std::span<const float>(turns)));
}

/// The convolution: patches do not overlap, so it is a product of every patch, unfolded as its weights lie.
void VisionEncoder::embed(const Image& image, const Chunk& chunk) {
  const int size = spec_.patch_size, across = image.width / size, width = spec_.patch_values();
  host_.resize(n_elements(chunk.n, width));
  backend_.for_each(chunk.n, [&](int i, int) {
    const int patch = chunk.first + i;
    const int top = patch / across * size, left = patch % across * size;
    float* to = host_.data() + n_elements(i, width);
    for (int colour = 0; colour < 3; ++colour) {
      for (int y = top; y < top + size; ++y) {
        const std::uint8_t* from = image.rgb.data() + 3 * (n_elements(y, image.width) + to_size(left)) + colour;
        for (int x = 0; x < size; ++x, from += 3) {
          *to++ = (static_cast<float>(*from) / 255.0f - spec_.mean[colour]) / spec_.deviation[colour];
        }
      }
    }
  });
  backend_.upload(patches_.ptr(), std::as_bytes(std::span<const float>(host_)));
  const MatmulJob job = {
      .weight = weights_.patch.weight.get(), .out = patches_of(chunk), .bias = weights_.patch.bias.ptr()};
  backend_.matmul(scratch(patches_, chunk.n, width), {&job, 1}, InputPlanes::kAll);
  add_positions(chunk);
}

/// Of a square of fixed size every patch has a position of its own; else its column and its row have one each.
void VisionEncoder::add_positions(const Chunk& chunk) {
  const Rows x = patches_of(chunk);
  if (spec_.family == VisionFamily::kGemma3) {
    const Rows positions = scratch(weights_.position, spec_.most_patches(), spec_.d_model);
    backend_.add(x, positions.slice(chunk.first, chunk.n), {}, 0.0f, false);
    return;
  }
  const int across = sides_.width / spec_.patch_size;
  std::vector<std::int32_t> columns, rows;
  for (int patch = chunk.first; patch < chunk.first + chunk.n; ++patch) {
    columns.push_back(patch % across);
    rows.push_back(spec_.n_positions + patch / across);
  }
  const Rows table = scratch(weights_.position, 2 * spec_.n_positions, spec_.d_model);
  const Rows gathered = scratch(normed_, chunk.n, spec_.d_model);
  for (const std::vector<std::int32_t>* places : {&columns, &rows}) {
    backend_.gather(table, *places, gathered);
    backend_.add(x, gathered, {}, 0.0f, false);
  }
}

Status VisionEncoder::keys_and_values(const VisionLayer& layer, const Chunk& chunk) {
  const Rows normed = scratch(normed_, chunk.n, spec_.d_model);
  const Rows keys = scratch(query_, chunk.n, spec_.d_model), values = scratch(attended_, chunk.n, spec_.d_model);
  norm(layer.norm1, patches_of(chunk), normed);
  TRY(multiply(normed, layer.key, keys));
  TRY(multiply(normed, layer.value, values));
  norm_and_turn(layer.key_norm, chunk, keys);
  if (layer.key_norm.weight.ptr()) {
    backend_.norm_rope(values, spec_.n_heads, ones_.ptr(), spec_.norm_eps, RopeSpec(), {});
  }
  backend_.append_kv(keys, values, *chunk.index, {cache_.ptr(), heads(), KvType::kBF16});
  return {};
}

/// Advances the chunk's patches by a layer whose keys and values are there; no other patch reads them until then.
Status VisionEncoder::run_layer(const VisionLayer& layer, const Chunk& chunk) {
  const Rows x = patches_of(chunk), normed = scratch(normed_, chunk.n, spec_.d_model);
  const Rows query = scratch(query_, chunk.n, spec_.d_model), attended = scratch(attended_, chunk.n, spec_.d_model);
  const Rows branch = scratch(branch_, chunk.n, spec_.d_model);
  norm(layer.norm1, x, normed);
  TRY(multiply(normed, layer.query, query));
  norm_and_turn(layer.query_norm, chunk, query);
  // Norms of heads take the place of the scale.
  const float scale = layer.query_norm.weight.ptr() ? 1.0f : 1.0f / std::sqrt(static_cast<float>(spec_.head_dim()));
  backend_.attend(query, *chunk.index, {cache_.ptr(), heads(), KvType::kBF16}, {.scale = scale, .keeps_f32 = true},
                  attended);
  TRY(multiply(attended, layer.output, branch));
  backend_.add(x, branch, layer.branch_norm1.weight.ptr(), spec_.norm_eps, false);
  return feed_forward(layer, chunk);
}

Status VisionEncoder::feed_forward(const VisionLayer& layer, const Chunk& chunk) {
  const Rows x = patches_of(chunk), normed = scratch(normed_, chunk.n, spec_.d_model);
  const Rows branch = scratch(branch_, chunk.n, spec_.d_model), wide = scratch(wide_, chunk.n, spec_.d_ff);
  norm(layer.norm2, x, normed);
  TRY(multiply(normed, layer.up, wide));
  if (layer.gate.weight != nullptr) {
    const Rows gate = scratch(gate_, chunk.n, spec_.d_ff);
    TRY(multiply(normed, layer.gate, gate));
    backend_.gated(Activation::kGeluTanh, gate, wide, wide);
  } else {
    const Rows ones = {ones_.ptr(), chunk.n, spec_.d_ff, 0};  // the same row for all: a gate that gates nothing
    backend_.gated(Activation::kGeluTanh, wide, ones, wide);
  }
  TRY(multiply(wide, layer.down, branch));
  backend_.add(x, branch, layer.branch_norm2.weight.ptr(), spec_.norm_eps, false);
  return {};
}

/// The mean of every square of patches.
Result<std::vector<float>> VisionEncoder::pooled() {
  const int d = spec_.d_model, n_patches = spec_.n_patches(sides_), n_rows = spec_.n_rows(sides_), pool = spec_.pool;
  const int patches_across = sides_.width / spec_.patch_size, across = patches_across / pool;
  const auto patches = as_floats(TRY(backend_.fetch(x_.ptr(), n_elements(n_patches, d) * sizeof(float))));
  std::vector<float> means(n_elements(n_rows, d));
  for (int row = 0; row < n_rows; ++row) {
    float* mean = means.data() + n_elements(row, d);
    for (int patch = 0; patch < pool * pool; ++patch) {
      const int y = row / across * pool + patch / pool, x = row % across * pool + patch % pool;
      const float* from = patches.data() + n_elements(y * patches_across + x, d);
      for (int i = 0; i < d; ++i) mean[i] += from[i];
    }
    for (int i = 0; i < d; ++i) mean[i] /= static_cast<float>(pool * pool);
  }
  return means;
}

/// Post norm, mean of every square of patches, RMS norm, product.
Result<std::vector<float>> VisionEncoder::project() {
  const int d = spec_.d_model, n_patches = spec_.n_patches(sides_), n_rows = spec_.n_rows(sides_);
  const Rows x = scratch(x_, n_patches, d);
  if (weights_.post_norm.weight.ptr()) norm(weights_.post_norm, x, x);
  std::vector<float> means = TRY(pooled());
  if (spec_.family == VisionFamily::kGemma4) {
    const float scale = std::sqrt(static_cast<float>(d));
    for (float& value : means) value *= scale;
  }
  for (std::size_t i = 0; i < means.size() && !weights_.row_shift.empty(); ++i) {
    const std::size_t column = i % to_size(d);
    means[i] = (means[i] - weights_.row_shift[column]) * weights_.row_factor[column];
  }
  const Rows pooled = scratch(pooled_, n_rows, d), rows = scratch(rows_, n_rows, spec_.d_text);
  backend_.upload(pooled_.ptr(), std::as_bytes(std::span<const float>(means)));
  const DevicePtr weight = weights_.row_norm.ptr() ? weights_.row_norm.ptr() : ones_.ptr();
  backend_.rms_norm(pooled, weight, spec_.norm_eps, pooled);
  const MatmulJob job = {.weight = weights_.projection.get(), .out = rows};
  backend_.matmul(pooled, {&job, 1}, InputPlanes::kAll);
  const auto values = as_floats(TRY(backend_.fetch(rows_.ptr(), n_elements(n_rows, spec_.d_text) * sizeof(float))));
  return std::vector<float>(values.begin(), values.end());
}

Result<std::vector<float>> VisionEncoder::encode(const Image& image, const Pause& pause) {
  const int side = spec_.patch_size * spec_.pool;
  CHECK(image.width > 0 && image.height > 0 && image.width % side == 0 && image.height % side == 0 &&
        image.rgb.size() == 3 * n_elements(image.width, image.height));
  const ImageSides sides = {image.width, image.height};
  CHECK(spec_.image_size > 0 ? sides == spec_.sides_of(1, 1) : spec_.n_rows(sides) <= spec_.max_rows);
  const auto end_piece = [&]() -> Status {
    TRY(backend_.fetch(x_.ptr(), sizeof(float)));
    return pause ? pause() : Status();
  };
  begin(image);
  for (const Chunk& chunk : chunks_) embed(image, chunk);
  for (const VisionLayer& layer : weights_.layers) {
    for (const Chunk& chunk : chunks_) {
      TRY(keys_and_values(layer, chunk));
      TRY(end_piece());
    }
    for (const Chunk& chunk : chunks_) {
      TRY(run_layer(layer, chunk));
      TRY(end_piece());
    }
  }
  return project();
}

}  // namespace commissure
