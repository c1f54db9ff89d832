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

/// Whose image encoder it is. Gemma 3: a SigLIP tower over a square of fixed size, with layer norms and biases. Gemma
/// 4: a tower over images that keep their shape, with RMS norms, gated feed-forwards and patches that rotate by column
/// and row.
enum class VisionFamily { kGemma3, kGemma4 };
std::string_view vision_family_name(VisionFamily family);

/// The sides of an image, in pixels.
struct ImageSides {
  int width = 0;
  int height = 0;
  bool operator==(const ImageSides&) const = default;
};

/// An image encoder as its files describe it: a tower over square patches, whose output is pooled, normed and projected
/// to the width of the text model. Source: arXiv:2303.15343; Gemma 3, arXiv:2503.19786; transformers' gemma4.
struct VisionSpec {
  VisionFamily family = VisionFamily::kGemma3;
  int patch_size = 0;  ///< pixels on either side
  int n_layers = 0;
  int d_model = 0;  ///< width of the tower, a multiple of n_heads
  int d_ff = 0;
  int n_heads = 0;
  int pool = 0;    ///< patches on either side of the square that becomes one row
  int d_text = 0;  ///< width of the rows: d_model of the text model
  float norm_eps = 1e-6f;
  float row_norm_offset = 0.0f;  ///< added to the weights of the norm before the projection: 1 in safetensors
  ResizeFilter filter = ResizeFilter::kBilinear;
  std::array<float, 3> mean = {0.5f, 0.5f, 0.5f};       ///< of red, green and blue in [0, 1]: subtracted
  std::array<float, 3> deviation = {0.5f, 0.5f, 0.5f};  ///< then divided by
  // Of Gemma 3:
  int image_size = 0;  ///< pixels on either side of what the tower sees, a multiple of patch_size * pool
  // Of Gemma 4:
  int max_rows = 0;           ///< that an image may become
  int n_positions = 0;        ///< columns, and rows of patches, that have a position; at least max_rows * pool
  float rope_theta = 0.0f;    ///< base of the frequencies; half of a head turns by a patch's column, half by its row
  bool has_limits = false;    ///< inputs and outputs of the layers' products are cut to ranges that the file may have
  bool standardises = false;  ///< pooled rows are shifted and scaled

  int head_dim() const { return d_model / n_heads; }
  int patch_values() const { return 3 * patch_size * patch_size; }
  /// To what an image is resized before it is encoded.
  ///   width, height  at least 1
  ImageSides sides_of(int width, int height) const;
  /// Patches of an image of such sides, and rows that it becomes.
  int n_patches(ImageSides sides) const { return sides.width / patch_size * (sides.height / patch_size); }
  int n_rows(ImageSides sides) const { return n_patches(sides) / (pool * pool); }
  /// The most of any image.
  int most_rows() const { return image_size > 0 ? n_rows({image_size, image_size}) : max_rows; }
  int most_patches() const { return most_rows() * pool * pool; }
  bool operator==(const VisionSpec&) const = default;
};

/// Whether a GGUF file is an image encoder alone (mmproj), without a text model.
bool is_mmproj(const Checkpoint& checkpoint);

/// The image encoder that a checkpoint holds: that of a model folder, of a single GGUF file with both (as Ollama writes
/// it; Gemma 3 alone), or of an mmproj file. Nothing where there is none that we know: the model then takes text alone.
/// Errors: kInvalidArgument, naming the field and its range, or what contradicts what; kUnimplemented, naming field,
/// value and what is supported; kNotFound of an mmproj file's tensors.
Result<std::optional<VisionSpec>> read_vision_spec(const Checkpoint& checkpoint);

/// The parts of the above: the encoder that a config.json describes, that of an mmproj file's header, and that of a
/// single GGUF's. Errors: as read_vision_spec.
///   d_text       of the projection's tensor
///   n_positions  rows of the position table; 0 where there is none (Gemma 3 needs no number)
Result<VisionSpec> vision_spec_from_config(const Json& config);
Result<VisionSpec> vision_spec_from_mmproj(const Metadata& metadata, std::int64_t d_text, std::int64_t n_positions = 0);
Result<VisionSpec> vision_spec_from_gguf(const Metadata& metadata);

/// Applies the text of preprocessor_config.json, or of processor_config.json, which has it under "image_processor".
/// Errors: as read_vision_spec.
Status apply_preprocessor(std::string_view text, VisionSpec& spec);

}  // namespace commissure
