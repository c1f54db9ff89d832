#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "core/result.h"
#include "image/image.h"
#include "kernels/backend.h"
#include "vision/vision_spec.h"
#include "vision/vision_weights.h"

namespace commissure {

/// Runs an image encoder, whatever its weights say, in Backend calls, some patches at a time. Products and attention
/// multiply in f32, as `--precision exact` does for text; keys and values are rounded to bf16. The same image gives the
/// same bits on the same kernels, whatever else the machine does and however many threads compute.
/// Threading: one thread at a time; it has its backend to itself.
class VisionEncoder {
 public:
  /// Patches that are computed together.
  static constexpr int kChunk = 256;

  /// Called between two pieces of the work, each a fraction of a second on a large encoder: the threads of the backend
  /// rest, so the caller may let others have the cores. An error ends the work.
  using Pause = std::function<Status()>;

  /// `spec` was read from the same checkpoint as `weights`.
  /// Errors: kUnimplemented, the backend cannot compute image encoders; kResourceExhausted.
  static Result<std::unique_ptr<VisionEncoder>> create(Backend& backend, const VisionSpec& spec, VisionWeights weights);

  /// Bytes that create() would allocate beside the weights.
  static std::size_t scratch_bytes(const Backend& backend, const VisionSpec& spec);

  const VisionSpec& spec() const { return spec_; }

  /// The rows that stand for the image: [n_rows, d_text].
  ///   image  of the spec's sides_of() (the caller resized it with the spec's filter)
  /// Errors: those of `pause`; kInternal, the device failed.
  Result<std::vector<float>> encode(const Image& image, const Pause& pause = {});

 private:
  struct Chunk {
    int first = 0;
    int n = 0;
    std::unique_ptr<StepIndex> index;
  };

  VisionEncoder(Backend& backend, const VisionSpec& spec, VisionWeights weights);
  Status allocate();
  Rows scratch(const DeviceBuffer& buffer, int n_rows, int n_cols) const;
  Rows patches_of(const Chunk& chunk) const;
  HeadLayout heads() const { return {spec_.n_heads, spec_.n_heads, spec_.head_dim()}; }

  void begin(const Image& image);
  void embed(const Image& image, const Chunk& chunk);
  void add_positions(const Chunk& chunk);
  Status keys_and_values(const VisionLayer& layer, const Chunk& chunk);
  Status run_layer(const VisionLayer& layer, const Chunk& chunk);
  Status feed_forward(const VisionLayer& layer, const Chunk& chunk);
  void norm(const VisionNorm& weights, Rows x, Rows out);
  void norm_and_turn(const VisionNorm& weights, const Chunk& chunk, Rows heads);
  Status multiply(Rows x, const VisionProduct& product, Rows out);
  Status cut(Rows x, const ValueRange& range, Rows out);
  Result<std::vector<float>> pooled();
  Result<std::vector<float>> project();

  Backend& backend_;
  const VisionSpec spec_;
  VisionWeights weights_;
  // Of the image that is encoded:
  ImageSides sides_;
  std::vector<Chunk> chunks_;

  DeviceBuffer x_;           // [n_patches, d_model]: the residual stream
  DeviceBuffer normed_;      // [kChunk, d_model]
  DeviceBuffer query_;       // the same: queries, or keys
  DeviceBuffer attended_;    // the same: what was attended to, or values
  DeviceBuffer branch_;      // the same: a branch's output
  DeviceBuffer wide_;        // [kChunk, d_ff]
  DeviceBuffer gate_;        // the same; Gemma 4 alone
  DeviceBuffer cut_;         // [kChunk, the larger of d_model and d_ff]; the same
  DeviceBuffer turns_;       // [n_patches, head_dim]: cosines, then sines; the same
  DeviceBuffer ones_;        // [the larger of d_model and d_ff]
  DeviceBuffer patches_;     // [kChunk, patch_values]
  DeviceBuffer pooled_;      // [n_rows, d_model]
  DeviceBuffer rows_;        // [n_rows, d_text]
  DeviceBuffer cache_;       // keys and values of one layer
  RopeSpec rope_;            // of Gemma 4: the frequencies of columns, then those of rows
  std::vector<float> host_;  // a chunk's patches, or what was cut
};

}  // namespace commissure
