#pragma once

#include <cstdint>

#include "core/json.h"
#include "core/metadata.h"
#include "core/result.h"
#include "vision/vision_spec.h"

/// Gemma 4's part of vision_spec.h.
namespace commissure {

/// Errors: as read_vision_spec.
///   config  has an object vision_config
Result<VisionSpec> gemma4_from_config(const Json& config);
Result<VisionSpec> gemma4_from_mmproj(const Metadata& metadata, std::int64_t d_text, std::int64_t n_positions);
Status apply_gemma4_processor(const Json& processor, VisionSpec& spec);

/// The largest sides of about the image's shape that make no more than max_rows rows and are multiples of a row's.
/// Source: get_aspect_ratio_preserving_size of transformers.
ImageSides gemma4_sides(const VisionSpec& spec, int width, int height);

}  // namespace commissure
