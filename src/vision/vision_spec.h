#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/json.h"
#include "core/metadata.h"
#include "core/result.h"
#include "image/image.h"
#include "weights/checkpoint.h"

namespace commissure {

/// An image encoder as its files describe it: a SigLIP tower over square patches, whose output is pooled, normed and
/// projected to the width of the text model. Source: arXiv:2303.15343; Gemma 3, arXiv:2503.19786.
struct VisionSpec {
  int image_size = 0;  ///< pixels on either side of what the tower sees
  int patch_size = 0;  ///< divides image_size
  int n_layers = 0;
  int d_model = 0;  ///< width of the tower, a multiple of n_heads
  int d_ff = 0;
  int n_heads = 0;
  int pool = 0;    ///< patches on either side of the square that becomes one row; divides patches_per_side()
  int d_text = 0;  ///< width of the rows: d_model of the text model
  float norm_eps = 1e-6f;
  float row_norm_offset = 0.0f;  ///< added to the weights of the norm before the projection: 1 in safetensors
  ResizeFilter filter = ResizeFilter::kBilinear;
  std::array<float, 3> mean = {0.5f, 0.5f, 0.5f};       ///< of red, green and blue in [0, 1]: subtracted
  std::array<float, 3> deviation = {0.5f, 0.5f, 0.5f};  ///< then divided by

  int patches_per_side() const { return image_size / patch_size; }
  int n_patches() const { return patches_per_side() * patches_per_side(); }
  /// Rows that an image becomes.
  int n_rows() const { return n_patches() / (pool * pool); }
  int head_dim() const { return d_model / n_heads; }
  int patch_values() const { return 3 * patch_size * patch_size; }
  bool operator==(const VisionSpec&) const = default;
};

/// Whether a GGUF file is an image encoder alone (mmproj), without a text model.
bool is_mmproj(const Checkpoint& checkpoint);

/// The image encoder that a checkpoint holds: that of a Gemma 3 model folder, of a single GGUF file with both (as
/// Ollama writes it), or of an mmproj file. Nothing where there is none that we know: the model then takes text alone.
/// Errors: kInvalidArgument, naming the field and its range, or what contradicts what; kUnimplemented, naming field,
/// value and what is supported; kNotFound of an mmproj file's tensors.
Result<std::optional<VisionSpec>> read_vision_spec(const Checkpoint& checkpoint);

/// The parts of the above: the encoder that a Gemma 3's config.json describes, that of an mmproj file's header, and
/// that of a single GGUF's. Errors: as read_vision_spec.
///   d_text  width of the projection's tensor
Result<VisionSpec> vision_spec_from_config(const Json& config);
Result<VisionSpec> vision_spec_from_mmproj(const Metadata& metadata, std::int64_t d_text);
Result<VisionSpec> vision_spec_from_gguf(const Metadata& metadata);

/// Applies the text of preprocessor_config.json, or of processor_config.json, which has it under "image_processor".
/// Errors: as read_vision_spec.
Status apply_preprocessor(std::string_view text, VisionSpec& spec);

}  // namespace commissure
