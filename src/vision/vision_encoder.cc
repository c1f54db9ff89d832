#include "vision/vision_encoder.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/check.h"
#include "core/index.h"

namespace commissure {
namespace {

constexpr int kBlock = 64;  // positions of a KV block

int n_blocks(const VisionSpec& spec) { return (spec.n_patches() + kBlock - 1) / kBlock; }

int chunk_rows(const VisionSpec& spec) { return std::min(VisionEncoder::kChunk, spec.n_patches()); }

Result<DeviceBuffer> allocate_floats(Backend& backend, std::size_t n) { return backend.allocate(n * sizeof(float)); }

}  // namespace

VisionEncoder::VisionEncoder(Backend& backend, const VisionSpec& spec, VisionWeights weights)
    : backend_(backend), spec_(spec), weights_(std::move(weights)) {
  for (int first = 0; first < spec.n_patches(); first += kChunk) {
    const int n = std::min(kChunk, spec.n_patches() - first);
    StepShape shape;
    shape.tokens.resize(n);
    SequenceSpan span = {.n_rows = n, .first_position = first, .blocks = {}, .seen_to = spec.n_patches()};
    for (int block = 0; block < n_blocks(spec); ++block) span.blocks.push_back(block);
    shape.sequences.push_back(std::move(span));
    chunks_.push_back({first, n, backend.make_step_index(shape)});
  }
}

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
  const std::size_t floats = n_elements(spec.n_patches(), spec.d_model) + 4 * n_elements(n, spec.d_model) +
                             n_elements(n, spec.d_ff) + to_size(spec.d_ff) + 2 * n_elements(n, spec.patch_values()) +
                             n_elements(spec.n_rows(), spec.d_model) + n_elements(spec.n_rows(), spec.d_text);
  const HeadLayout heads = {spec.n_heads, spec.n_heads, spec.head_dim()};
  return floats * sizeof(float) + to_size(n_blocks(spec)) * backend.kv_block_bytes(heads, KvType::kBF16);
}

Status VisionEncoder::allocate() {
  const int n = chunk_rows(spec_);
  x_ = TRY(allocate_floats(backend_, n_elements(spec_.n_patches(), spec_.d_model)));
  for (DeviceBuffer* buffer : {&normed_, &query_, &attended_, &branch_}) {
    *buffer = TRY(allocate_floats(backend_, n_elements(n, spec_.d_model)));
  }
  wide_ = TRY(allocate_floats(backend_, n_elements(n, spec_.d_ff)));
  ones_ = TRY(allocate_floats(backend_, to_size(spec_.d_ff)));
  patches_ = TRY(allocate_floats(backend_, n_elements(n, spec_.patch_values())));
  pooled_ = TRY(allocate_floats(backend_, n_elements(spec_.n_rows(), spec_.d_model)));
  rows_ = TRY(allocate_floats(backend_, n_elements(spec_.n_rows(), spec_.d_text)));
  cache_ = TRY(backend_.allocate(to_size(n_blocks(spec_)) * backend_.kv_block_bytes(heads(), KvType::kBF16)));
  unfolded_.resize(n_elements(n, spec_.patch_values()));
  const std::vector<float> ones(spec_.d_ff, 1.0f);
  backend_.upload(ones_.ptr(), std::as_bytes(std::span(ones)));
  return {};
}

Rows VisionEncoder::scratch(const DeviceBuffer& buffer, int n_rows, int n_cols) const {
  return Rows::dense(buffer.ptr(), n_rows, n_cols);
}

void VisionEncoder::norm(const VisionNorm& weights, Rows x, Rows out) {
  backend_.layer_norm(x, weights.weight.ptr(), weights.bias.ptr(), spec_.norm_eps, out);
}

void VisionEncoder::multiply(Rows x, const VisionProduct& product, Rows out) {
  const MatmulJob job = {.weight = product.weight.get(), .out = out, .bias = product.bias.ptr()};
  backend_.matmul(x, {&job, 1}, InputPlanes::kAll);
}

/// The convolution: patches do not overlap, so it is a product of every patch, unfolded as its weights lie.
void VisionEncoder::embed(const Image& image, const Chunk& chunk) {
  const int size = spec_.patch_size, per_side = spec_.patches_per_side(), width = spec_.patch_values();
  backend_.for_each(chunk.n, [&](int i, int) {
    const int patch = chunk.first + i;
    const int top = patch / per_side * size, left = patch % per_side * size;
    float* to = unfolded_.data() + n_elements(i, width);
    for (int colour = 0; colour < 3; ++colour) {
      for (int y = top; y < top + size; ++y) {
        const std::uint8_t* from = image.rgb.data() + 3 * (n_elements(y, image.width) + to_size(left)) + colour;
        for (int x = 0; x < size; ++x, from += 3) {
          *to++ = (static_cast<float>(*from) / 255.0f - spec_.mean[colour]) / spec_.deviation[colour];
        }
      }
    }
  });
  const std::span<const float> values(unfolded_.data(), n_elements(chunk.n, width));
  backend_.upload(patches_.ptr(), std::as_bytes(values));
  const Rows x = scratch(x_, spec_.n_patches(), spec_.d_model).slice(chunk.first, chunk.n);
  multiply(scratch(patches_, chunk.n, width), weights_.patch, x);
  backend_.add(x, scratch(weights_.position, spec_.n_patches(), spec_.d_model).slice(chunk.first, chunk.n), {}, 0.0f,
               false);
}

void VisionEncoder::keys_and_values(const VisionLayer& layer, const Chunk& chunk) {
  const Rows x = scratch(x_, spec_.n_patches(), spec_.d_model).slice(chunk.first, chunk.n);
  const Rows normed = scratch(normed_, chunk.n, spec_.d_model);
  const Rows keys = scratch(query_, chunk.n, spec_.d_model), values = scratch(attended_, chunk.n, spec_.d_model);
  norm(layer.norm1, x, normed);
  const MatmulJob jobs[] = {{.weight = layer.key.weight.get(), .out = keys, .bias = layer.key.bias.ptr()},
                            {.weight = layer.value.weight.get(), .out = values, .bias = layer.value.bias.ptr()}};
  backend_.matmul(normed, jobs, InputPlanes::kAll);
  backend_.append_kv(keys, values, *chunk.index, {cache_.ptr(), heads(), KvType::kBF16});
}

/// Advances the chunk's patches by a layer whose keys and values are there; no other patch reads them until then.
void VisionEncoder::run_layer(const VisionLayer& layer, const Chunk& chunk) {
  const Rows x = scratch(x_, spec_.n_patches(), spec_.d_model).slice(chunk.first, chunk.n);
  const Rows normed = scratch(normed_, chunk.n, spec_.d_model), branch = scratch(branch_, chunk.n, spec_.d_model);
  const Rows query = scratch(query_, chunk.n, spec_.d_model), attended = scratch(attended_, chunk.n, spec_.d_model);
  norm(layer.norm1, x, normed);
  multiply(normed, layer.query, query);
  const float scale = 1.0f / std::sqrt(static_cast<float>(spec_.head_dim()));
  backend_.attend(query, *chunk.index, {cache_.ptr(), heads(), KvType::kBF16}, {.scale = scale, .keeps_f32 = true},
                  attended);
  multiply(attended, layer.output, branch);
  backend_.add(x, branch, {}, 0.0f, false);

  const Rows wide = scratch(wide_, chunk.n, spec_.d_ff);
  const Rows ones = {ones_.ptr(), chunk.n, spec_.d_ff, 0};  // the same row for all: a gate that gates nothing
  norm(layer.norm2, x, normed);
  multiply(normed, layer.up, wide);
  backend_.gated(Activation::kGeluTanh, wide, ones, wide);
  multiply(wide, layer.down, branch);
  backend_.add(x, branch, {}, 0.0f, false);
}

/// Post norm, mean of every square of patches, RMS norm, product.
Result<std::vector<float>> VisionEncoder::project() {
  const int d = spec_.d_model, per_side = spec_.patches_per_side(), pool = spec_.pool, n_across = per_side / pool;
  const Rows x = scratch(x_, spec_.n_patches(), d);
  norm(weights_.post_norm, x, x);
  const auto bytes = TRY(backend_.fetch(x_.ptr(), n_elements(spec_.n_patches(), d) * sizeof(float)));
  const auto* patches = reinterpret_cast<const float*>(bytes.data());
  std::vector<float> means(n_elements(spec_.n_rows(), d));
  for (int row = 0; row < spec_.n_rows(); ++row) {
    float* mean = means.data() + n_elements(row, d);
    for (int patch = 0; patch < pool * pool; ++patch) {
      const int y = row / n_across * pool + patch / pool, across = row % n_across * pool + patch % pool;
      const float* from = patches + n_elements(y * per_side + across, d);
      for (int i = 0; i < d; ++i) mean[i] += from[i];
    }
    for (int i = 0; i < d; ++i) mean[i] /= static_cast<float>(pool * pool);
  }
  const Rows pooled = scratch(pooled_, spec_.n_rows(), d), rows = scratch(rows_, spec_.n_rows(), spec_.d_text);
  backend_.upload(pooled_.ptr(), std::as_bytes(std::span(means)));
  backend_.rms_norm(pooled, weights_.row_norm.ptr(), spec_.norm_eps, pooled);
  const MatmulJob job = {.weight = weights_.projection.get(), .out = rows};
  backend_.matmul(pooled, {&job, 1}, InputPlanes::kAll);
  const std::size_t n = n_elements(spec_.n_rows(), spec_.d_text);
  const auto result = TRY(backend_.fetch(rows_.ptr(), n * sizeof(float)));
  const auto* values = reinterpret_cast<const float*>(result.data());
  return std::vector<float>(values, values + n);
}

Result<std::vector<float>> VisionEncoder::encode(const Image& image, const Pause& pause) {
  CHECK(image.width == spec_.image_size && image.height == spec_.image_size &&
        image.rgb.size() == 3 * n_elements(image.width, image.height));
  const auto end_piece = [&]() -> Status {
    TRY(backend_.fetch(x_.ptr(), sizeof(float)));
    return pause ? pause() : Status();
  };
  for (const Chunk& chunk : chunks_) embed(image, chunk);
  for (const VisionLayer& layer : weights_.layers) {
    for (const Chunk& chunk : chunks_) {
      keys_and_values(layer, chunk);
      TRY(end_piece());
    }
    for (const Chunk& chunk : chunks_) {
      run_layer(layer, chunk);
      TRY(end_piece());
    }
  }
  return project();
}

}  // namespace commissure
