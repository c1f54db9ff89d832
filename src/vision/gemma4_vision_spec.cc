#include "vision/gemma4_vision_spec.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "model/config_fields.h"
#include "model/gguf_keys.h"
#include "vision/vision_checks.h"
#include "weights/header_reader.h"

namespace commissure {
namespace {

constexpr std::int64_t kMaxRows = 4096;
constexpr std::int64_t kMaxPositions = 1 << 20;
constexpr std::int64_t kDefaultRows = 280;
constexpr double kTheta = 100.0;

/// A spec as read, before any range check.
struct RawVision {
  std::int64_t patch_size = 0, n_layers = 0, d_model = 0, d_ff = 0, n_heads = 0, pool = 0, d_text = 0, max_rows = 0,
               n_positions = 0;
  double norm_eps = 1e-6, theta = kTheta;
};

/// How a file calls the numbers, for errors.
struct FieldNames {
  const char *patch_size, *n_layers, *d_model, *d_ff, *n_heads, *pool, *d_text, *max_rows, *n_positions, *norm_eps,
      *theta;
};

constexpr FieldNames kConfigNames = {.patch_size = "config.json: vision_config.patch_size",
                                     .n_layers = "config.json: vision_config.num_hidden_layers",
                                     .d_model = "config.json: vision_config.hidden_size",
                                     .d_ff = "config.json: vision_config.intermediate_size",
                                     .n_heads = "config.json: vision_config.num_attention_heads",
                                     .pool = "config.json: vision_config.pooling_kernel_size",
                                     .d_text = "config.json: text_config.hidden_size",
                                     .max_rows = "config.json: vision_soft_tokens_per_image",
                                     .n_positions = "config.json: vision_config.position_embedding_size",
                                     .norm_eps = "config.json: vision_config.rms_norm_eps",
                                     .theta = "config.json: vision_config.rope_parameters.rope_theta"};
constexpr FieldNames kMmprojNames = {.patch_size = "clip.vision.patch_size",
                                     .n_layers = "clip.vision.block_count",
                                     .d_model = "clip.vision.embedding_length",
                                     .d_ff = "clip.vision.feed_forward_length",
                                     .n_heads = "clip.vision.attention.head_count",
                                     .pool = "clip.vision.projector.scale_factor",
                                     .d_text = "width of mm.input_projection.weight",
                                     .max_rows = "rows of an image",
                                     .n_positions = "positions of v.position_embd.weight",
                                     .norm_eps = "clip.vision.attention.layer_norm_epsilon",
                                     .theta = "base of the rotation"};

/// What an image may become: patches that have positions, and no more than a square of fixed size may have.
Status check_rows(const char* name, std::int64_t max_rows, std::int64_t pool, std::int64_t patch_size,
                  const char* positions, std::int64_t n_positions) {
  TRY(check_vision_range(name, max_rows, kMaxRows));
  TRY(check_vision_range("patches of an image", max_rows * pool * pool, kMaxPatches));
  TRY(check_vision_range("pixels of an image", max_rows * pool * pool * patch_size * patch_size,
                         kMaxImageSize * kMaxImageSize));
  if (max_rows * pool <= n_positions) return {};
  return Error(Code::kInvalidArgument, name, " is ", max_rows, ", which makes images of up to ", max_rows * pool,
               " patches a side, but ", positions, " is ", n_positions);
}

Result<VisionSpec> checked(const RawVision& raw, const FieldNames& names) {
  TRY(check_vision_range(names.patch_size, raw.patch_size, kMaxImageSize));
  TRY(check_vision_range(names.n_layers, raw.n_layers, kMaxVisionLayers));
  TRY(check_vision_range(names.d_model, raw.d_model, kMaxVisionWidth));
  TRY(check_vision_range(names.d_ff, raw.d_ff, kMaxVisionWidth));
  TRY(check_vision_range(names.n_heads, raw.n_heads, kMaxVisionWidth));
  TRY(check_vision_range(names.d_text, raw.d_text, kMaxVisionWidth));
  TRY(check_vision_range(names.pool, raw.pool, kMaxImageSize));
  TRY(check_vision_range(names.n_positions, raw.n_positions, kMaxPositions));
  TRY(check_vision_part(names.n_heads, raw.n_heads, names.d_model, raw.d_model));
  TRY(check_vision_part("of columns and rows", 4, "width of the tower's heads", raw.d_model / raw.n_heads));
  TRY(check_rows(names.max_rows, raw.max_rows, raw.pool, raw.patch_size, names.n_positions, raw.n_positions));
  TRY(check_vision_eps(names.norm_eps, raw.norm_eps));
  if (!(raw.theta >= 1.0 && raw.theta <= 1e9)) {
    return Error(Code::kInvalidArgument, names.theta, " is ", raw.theta, ", must be 1 to 1e9");
  }
  VisionSpec spec = {.family = VisionFamily::kGemma4, .filter = ResizeFilter::kBicubic};
  for (const auto& [from, to] : {std::pair{raw.patch_size, &spec.patch_size},
                                 {raw.n_layers, &spec.n_layers},
                                 {raw.d_model, &spec.d_model},
                                 {raw.d_ff, &spec.d_ff},
                                 {raw.n_heads, &spec.n_heads},
                                 {raw.pool, &spec.pool},
                                 {raw.d_text, &spec.d_text},
                                 {raw.max_rows, &spec.max_rows},
                                 {raw.n_positions, &spec.n_positions}}) {
    *to = static_cast<int>(from);
  }
  spec.norm_eps = static_cast<float>(raw.norm_eps);
  spec.rope_theta = static_cast<float>(raw.theta);
  return spec;
}

Status refuse_what_is_not_done(const ConfigFields& fields, const RawVision& raw) {
  const std::string activation = TRY(fields.text_or("hidden_activation", "gelu_pytorch_tanh"));
  if (activation != "gelu_pytorch_tanh") {
    return Error(Code::kUnimplemented, "config.json: vision_config.hidden_activation is ", printable(activation),
                 "; \"gelu_pytorch_tanh\" is supported");
  }
  if (TRY(fields.boolean_or("attention_bias", false))) {
    return Error(Code::kUnimplemented, "config.json: vision_config.attention_bias is true; false is supported");
  }
  if (const auto n = TRY(fields.integer_or("num_key_value_heads", raw.n_heads)); n != raw.n_heads) {
    return Error(Code::kUnimplemented, "config.json: vision_config.num_key_value_heads is ", n,
                 "; as many as num_attention_heads, ", raw.n_heads, ", are supported");
  }
  if (const auto dim = TRY(fields.integer_or("head_dim", 0)); dim != 0 && raw.n_heads * dim != raw.d_model) {
    return Error(Code::kUnimplemented, "config.json: vision_config.head_dim is ", dim,
                 "; hidden_size / num_attention_heads is supported");
  }
  return {};
}

}  // namespace

Result<VisionSpec> gemma4_from_config(const Json& config) {
  const Json none = Json::object();
  const Json* text = find_member(config, "text_config");
  const Json& vision = *find_member(config, "vision_config");
  const Json* rope = find_member(vision, "rope_parameters");
  const ConfigFields fields(vision);
  RawVision raw = {.patch_size = TRY(fields.integer_or("patch_size", 16)),
                   .n_layers = TRY(fields.integer_or("num_hidden_layers", 16)),
                   .d_model = TRY(fields.integer_or("hidden_size", 768)),
                   .d_ff = TRY(fields.integer_or("intermediate_size", 3072)),
                   .n_heads = TRY(fields.integer_or("num_attention_heads", 12)),
                   .pool = TRY(fields.integer_or("pooling_kernel_size", 3)),
                   .d_text = TRY(ConfigFields(text != nullptr ? *text : none).integer_or("hidden_size", 2304)),
                   .max_rows = TRY(fields.integer_or("default_output_length", kDefaultRows)),
                   .n_positions = TRY(fields.integer_or("position_embedding_size", 10240)),
                   .norm_eps = TRY(fields.number_or("rms_norm_eps", 1e-6)),
                   .theta = TRY(ConfigFields(rope != nullptr ? *rope : none).number_or("rope_theta", kTheta))};
  raw.max_rows = TRY(ConfigFields(config).integer_or("vision_soft_tokens_per_image", raw.max_rows));
  TRY(refuse_what_is_not_done(fields, raw));
  VisionSpec spec = TRY(checked(raw, kConfigNames));
  spec.has_limits = TRY(fields.boolean_or("use_clipped_linears", false));
  spec.standardises = TRY(fields.boolean_or("standardize", false));
  return spec;
}

Result<VisionSpec> gemma4_from_mmproj(const Metadata& metadata, std::int64_t d_text, std::int64_t n_positions) {
  const GgufKeys keys(metadata, "clip.vision");
  const RawVision raw = {.patch_size = TRY(keys.integer("patch_size")),
                         .n_layers = TRY(keys.integer("block_count")),
                         .d_model = TRY(keys.integer("embedding_length")),
                         .d_ff = TRY(keys.integer("feed_forward_length")),
                         .n_heads = TRY(keys.integer("attention.head_count")),
                         .pool = TRY(keys.integer_or("projector.scale_factor", 3)),
                         .d_text = d_text,
                         .max_rows = kDefaultRows,
                         .n_positions = n_positions,
                         .norm_eps = TRY(keys.number_or("attention.layer_norm_epsilon", 1e-6)),
                         .theta = kTheta};
  // A table that is too small for so many rows is a smaller model's, not a damaged one's.
  RawVision fitting = raw;
  if (raw.pool >= 1) fitting.max_rows = std::min(raw.max_rows, n_positions / raw.pool);
  VisionSpec spec = TRY(checked(fitting, kMmprojNames));
  spec.has_limits = true;  // where the file has some
  return spec;
}

Status apply_gemma4_processor(const Json& processor, VisionSpec& spec) {
  const ConfigFields fields(processor);
  const std::int64_t max_rows = TRY(fields.integer_or("max_soft_tokens", spec.max_rows));
  TRY(check_rows("max_soft_tokens", max_rows, spec.pool, spec.patch_size, "position_embedding_size", spec.n_positions));
  spec.max_rows = static_cast<int>(max_rows);
  if (TRY(fields.boolean_or("do_normalize", false))) {
    return Error(Code::kUnimplemented, "do_normalize is true; false is supported");
  }
  for (const auto& [name, value] : {std::pair{"patch_size", spec.patch_size}, {"pooling_kernel_size", spec.pool}}) {
    const std::int64_t found = TRY(fields.integer_or(name, value));
    if (found == value) continue;
    return Error(Code::kInvalidArgument, name, " is ", found, ", but the encoder's is ", value);
  }
  return {};
}

ImageSides gemma4_sides(const VisionSpec& spec, int width, int height) {
  const int side = spec.patch_size * spec.pool;
  const double pixels = static_cast<double>(spec.max_rows) * side * side;
  const double factor = std::sqrt(pixels / (static_cast<double>(width) * height));
  const auto whole = [&](int length) { return static_cast<int>(std::floor(factor * length / side)); };
  int across = whole(width), down = whole(height);
  if (down == 0) {
    down = 1;
    across = std::clamp(width / height, 1, spec.max_rows);
  } else if (across == 0) {
    across = 1;
    down = std::clamp(height / width, 1, spec.max_rows);
  }
  return {across * side, down * side};
}

}  // namespace commissure
