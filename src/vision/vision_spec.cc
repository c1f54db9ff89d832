#include "vision/vision_spec.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "model/config_fields.h"
#include "model/gguf_keys.h"
#include "vision/gemma4_vision_spec.h"
#include "vision/vision_checks.h"
#include "vision/vision_names.h"
#include "weights/header_reader.h"

namespace commissure {
namespace {

/// A spec as read, before any range check.
struct RawVision {
  std::int64_t image_size = 0, patch_size = 0, n_layers = 0, d_model = 0, d_ff = 0, n_heads = 0, pool = 0, d_text = 0;
  double norm_eps = 1e-6;
};

/// How a file calls the numbers, for errors.
struct FieldNames {
  const char *image_size, *patch_size, *n_layers, *d_model, *d_ff, *n_heads, *pool, *d_text, *norm_eps;
};

constexpr FieldNames kConfigNames = {.image_size = "config.json: vision_config.image_size",
                                     .patch_size = "config.json: vision_config.patch_size",
                                     .n_layers = "config.json: vision_config.num_hidden_layers",
                                     .d_model = "config.json: vision_config.hidden_size",
                                     .d_ff = "config.json: vision_config.intermediate_size",
                                     .n_heads = "config.json: vision_config.num_attention_heads",
                                     .pool = "config.json: patches on a side of what mm_tokens_per_image makes a row",
                                     .d_text = "config.json: text_config.hidden_size",
                                     .norm_eps = "config.json: vision_config.layer_norm_eps"};
constexpr FieldNames kMmprojNames = {.image_size = "clip.vision.image_size",
                                     .patch_size = "clip.vision.patch_size",
                                     .n_layers = "clip.vision.block_count",
                                     .d_model = "clip.vision.embedding_length",
                                     .d_ff = "clip.vision.feed_forward_length",
                                     .n_heads = "clip.vision.attention.head_count",
                                     .pool = "clip.vision.projector.scale_factor",
                                     .d_text = "width of mm.input_projection.weight",
                                     .norm_eps = "clip.vision.attention.layer_norm_epsilon"};
constexpr FieldNames kSingleFileNames = {.image_size = "gemma3.vision.image_size",
                                         .patch_size = "gemma3.vision.patch_size",
                                         .n_layers = "gemma3.vision.block_count",
                                         .d_model = "gemma3.vision.embedding_length",
                                         .d_ff = "gemma3.vision.feed_forward_length",
                                         .n_heads = "gemma3.vision.attention.head_count",
                                         .pool = "patches on a side of what gemma3.mm.tokens_per_image makes a row",
                                         .d_text = "gemma3.embedding_length",
                                         .norm_eps = "gemma3.vision.attention.layer_norm_epsilon"};

Result<VisionSpec> checked(const RawVision& raw, const FieldNames& names) {
  TRY(check_vision_range(names.image_size, raw.image_size, kMaxImageSize));
  TRY(check_vision_range(names.patch_size, raw.patch_size, kMaxImageSize));
  TRY(check_vision_range(names.n_layers, raw.n_layers, kMaxVisionLayers));
  TRY(check_vision_range(names.d_model, raw.d_model, kMaxVisionWidth));
  TRY(check_vision_range(names.d_ff, raw.d_ff, kMaxVisionWidth));
  TRY(check_vision_range(names.n_heads, raw.n_heads, kMaxVisionWidth));
  TRY(check_vision_range(names.d_text, raw.d_text, kMaxVisionWidth));
  TRY(check_vision_part(names.patch_size, raw.patch_size, names.image_size, raw.image_size));
  TRY(check_vision_part(names.n_heads, raw.n_heads, names.d_model, raw.d_model));
  const std::int64_t per_side = raw.image_size / raw.patch_size;
  TRY(check_vision_range("number of patches (image_size / patch_size, squared)", per_side * per_side, kMaxPatches));
  TRY(check_vision_range(names.pool, raw.pool, per_side));
  TRY(check_vision_part(names.pool, raw.pool, "patches on a side", per_side));
  if (raw.d_model / raw.n_heads % 2 != 0) {
    return Error(Code::kUnimplemented, names.d_model, " makes heads of ", raw.d_model / raw.n_heads,
                 " values; even numbers are supported");
  }
  TRY(check_vision_eps(names.norm_eps, raw.norm_eps));
  VisionSpec spec;
  for (const auto& [from, to] : {std::pair{raw.image_size, &spec.image_size},
                                 {raw.patch_size, &spec.patch_size},
                                 {raw.n_layers, &spec.n_layers},
                                 {raw.d_model, &spec.d_model},
                                 {raw.d_ff, &spec.d_ff},
                                 {raw.n_heads, &spec.n_heads},
                                 {raw.pool, &spec.pool},
                                 {raw.d_text, &spec.d_text}}) {
    *to = static_cast<int>(from);
  }
  spec.norm_eps = static_cast<float>(raw.norm_eps);
  return spec;
}

/// Patches on a side of the square that becomes one of `n_rows` rows; 0 where the numbers do not fit.
std::int64_t pool_of(std::int64_t image_size, std::int64_t patch_size, std::int64_t n_rows) {
  if (patch_size < 1 || image_size < patch_size || n_rows < 1 || n_rows > kMaxPatches) return 0;
  const auto side = std::llround(std::sqrt(static_cast<double>(n_rows)));
  const std::int64_t per_side = image_size / patch_size;
  return side * side == n_rows && per_side % side == 0 ? per_side / side : 0;
}

/// Of files that give the number of an image's rows. `name`: what they call it.
Result<VisionSpec> checked(RawVision raw, const FieldNames& names, const char* name, std::int64_t n_rows) {
  raw.pool = 1;
  TRY(checked(raw, names));  // the square root of a number that is none of them says nothing
  raw.pool = pool_of(raw.image_size, raw.patch_size, n_rows);
  if (raw.pool > 0) return checked(raw, names);
  return Error(Code::kInvalidArgument, name, " is ", n_rows, ", which parts no square of ", raw.image_size, " / ",
               raw.patch_size, " patches on a side into squares");
}

/// Three numbers for the colours. Errors: kInvalidArgument.
Status read_colours(const std::string& name, const std::vector<double>& values, bool is_divisor,
                    std::array<float, 3>& colours) {
  bool is_right = values.size() == 3;
  for (const double value : values) is_right &= std::isfinite(value) && std::abs(value) < 1e6;
  for (const double value : values) is_right &= !is_divisor || value > 1e-6;
  if (!is_right) {
    return Error(Code::kInvalidArgument, name, " must be three numbers", is_divisor ? " above 0" : "",
                 ", one for each of red, green and blue");
  }
  for (std::size_t i = 0; i < 3; ++i) colours[i] = static_cast<float>(values[i]);
  return {};
}

Status read_colours(const Metadata& metadata, const std::string& key, bool is_divisor, std::array<float, 3>& colours) {
  if (!metadata.has(key)) return {};
  const auto* list = metadata.find<std::vector<float>>(key);
  return read_colours(key, list == nullptr ? std::vector<double>() : std::vector<double>(list->begin(), list->end()),
                      is_divisor, colours);
}

/// Errors: kUnimplemented, kInvalidArgument.
Result<VisionFamily> family_of_projector(const Metadata& metadata) {
  constexpr const char* kSupported = "; \"gemma3\" and \"gemma4v\" are supported";
  for (const char* key : {"clip.vision.projector_type", "clip.projector_type"}) {
    if (!metadata.has(key)) continue;
    const std::string* type = metadata.text(key);
    if (type != nullptr && *type == "gemma3") return VisionFamily::kGemma3;
    if (type != nullptr && *type == "gemma4v") return VisionFamily::kGemma4;
    return Error(Code::kUnimplemented, key, " is ", type == nullptr ? "no text" : printable(*type), kSupported);
  }
  return Error(Code::kInvalidArgument, "the file has no clip.projector_type", kSupported);
}

/// Of a model folder; nothing where its family has no encoder that we know.
std::optional<VisionFamily> family_of_config(const Json& config) {
  const Json* type = find_member(config, "model_type");
  if (find_member(config, "vision_config") == nullptr || type == nullptr) return std::nullopt;
  if (*type == "gemma3") return VisionFamily::kGemma3;
  if (*type == "gemma4") return VisionFamily::kGemma4;
  return std::nullopt;
}

Result<std::optional<VisionSpec>> read_safetensors_spec(const Checkpoint& checkpoint) {
  const Json& config = checkpoint.config();
  const auto family = family_of_config(config);
  if (!family || !find_vision_names(checkpoint, *family)) return std::nullopt;  // or written without the encoder
  VisionSpec spec = TRY(vision_spec_from_config(config));
  for (const char* file : {"preprocessor_config.json", "processor_config.json"}) {
    const auto text = checkpoint.read_side_file(file, 1u << 20);
    if (!text && text.error().code() == Code::kNotFound) continue;
    if (!text) return text.error();
    const Status applied = apply_preprocessor(*text, spec);
    if (!applied) return applied.error().within(file);
    break;
  }
  return spec;
}

Result<VisionSpec> gemma3_from_config(const Json& config) {
  const Json* text = find_member(config, "text_config");
  const ConfigFields fields(*find_member(config, "vision_config")), top(config);
  const Json none = Json::object();
  const RawVision raw = {.image_size = TRY(fields.integer("image_size")),
                         .patch_size = TRY(fields.integer("patch_size")),
                         .n_layers = TRY(fields.integer("num_hidden_layers")),
                         .d_model = TRY(fields.integer("hidden_size")),
                         .d_ff = TRY(fields.integer("intermediate_size")),
                         .n_heads = TRY(fields.integer("num_attention_heads")),
                         .d_text = TRY(ConfigFields(text != nullptr ? *text : none).integer_or("hidden_size", 2304)),
                         .norm_eps = TRY(fields.number_or("layer_norm_eps", 1e-6))};
  const std::string activation = TRY(fields.text_or("hidden_act", "gelu_pytorch_tanh"));
  if (activation != "gelu_pytorch_tanh") {
    return Error(Code::kUnimplemented, "config.json: vision_config.hidden_act is ", printable(activation),
                 "; \"gelu_pytorch_tanh\" is supported");
  }
  if (const std::int64_t channels = TRY(fields.integer_or("num_channels", 3)); channels != 3) {
    return Error(Code::kUnimplemented, "config.json: vision_config.num_channels is ", channels, "; 3 is supported");
  }
  const std::int64_t n_rows = TRY(top.integer_or("mm_tokens_per_image", 256));
  VisionSpec spec = TRY(checked(raw, kConfigNames, "config.json: mm_tokens_per_image", n_rows));
  spec.row_norm_offset = 1.0f;
  return spec;
}

Result<VisionSpec> gemma3_from_mmproj(const Metadata& metadata, std::int64_t d_text) {
  // Both stand for gelu's tanh form, and gemma3 files say use_gelu.
  if (metadata.boolean("clip.use_silu") == true) {
    return Error(Code::kUnimplemented, "clip.use_silu is true; clip.use_gelu is supported");
  }
  const GgufKeys keys(metadata, "clip.vision");
  RawVision raw = {.image_size = TRY(keys.integer("image_size")),
                   .patch_size = TRY(keys.integer("patch_size")),
                   .n_layers = TRY(keys.integer("block_count")),
                   .d_model = TRY(keys.integer("embedding_length")),
                   .d_ff = TRY(keys.integer("feed_forward_length")),
                   .n_heads = TRY(keys.integer("attention.head_count")),
                   .pool = TRY(keys.integer_or("projector.scale_factor", 4)),
                   .d_text = d_text,
                   .norm_eps = TRY(keys.number_or("attention.layer_norm_epsilon", 1e-6))};
  if (const std::int64_t width = TRY(keys.integer_or("projection_dim", raw.d_text)); width != raw.d_text) {
    return Error(Code::kInvalidArgument, "clip.vision.projection_dim is ", width,
                 ", but mm.input_projection.weight makes rows of ", d_text);
  }
  VisionSpec spec = TRY(checked(raw, kMmprojNames));
  TRY(read_colours(metadata, "clip.vision.image_mean", false, spec.mean));
  TRY(read_colours(metadata, "clip.vision.image_std", true, spec.deviation));
  return spec;
}

/// What kind of file it is comes first: files of other projectors have other tensors.
Result<VisionSpec> read_mmproj_spec(const Checkpoint& checkpoint) {
  const VisionFamily family = TRY(family_of_projector(checkpoint.metadata()));
  const TensorInfo& projection = *TRY(checkpoint.require("mm.input_projection.weight"));
  if (projection.shape.size() != 2) {
    return Error(Code::kInvalidArgument, "tensor mm.input_projection.weight is ", shape_text(projection.shape),
                 ", must have two sides");
  }
  if (family == VisionFamily::kGemma3) return vision_spec_from_mmproj(checkpoint.metadata(), projection.shape[1]);
  const TensorInfo& position = *TRY(checkpoint.require("v.position_embd.weight"));
  return vision_spec_from_mmproj(checkpoint.metadata(), projection.shape[0],
                                 position.shape.size() == 3 ? position.shape[1] : 0);
}

Status apply_gemma3_processor(const Json& processor, VisionSpec& spec) {
  for (const auto& [name, colours] : {std::pair{"image_mean", &spec.mean}, {"image_std", &spec.deviation}}) {
    const Json* list = find_member(processor, name);
    if (list == nullptr) continue;
    std::vector<double> values;
    for (const Json& value : list->is_array() ? *list : Json::array()) {
      values.push_back(value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN());
    }
    TRY(read_colours(name, values, colours == &spec.deviation, *colours));
  }
  if (const Json* value = find_member(processor, "do_normalize"); value != nullptr && *value == false) {
    return Error(Code::kUnimplemented, "do_normalize is false; true is supported");
  }
  const Json* size = find_member(processor, "size");
  for (const char* side : {"height", "width"}) {
    const Json* value = size == nullptr ? nullptr : find_member(*size, side);
    if (value == nullptr || *value == spec.image_size) continue;
    return Error(Code::kInvalidArgument, "size.", side, " is ", printable(dump_json(*value)),
                 ", but the encoder's image_size is ", spec.image_size);
  }
  return {};
}

}  // namespace

std::string_view vision_family_name(VisionFamily family) {
  return family == VisionFamily::kGemma3 ? "Gemma 3" : "Gemma 4";
}

ImageSides VisionSpec::sides_of(int width, int height) const {
  return family == VisionFamily::kGemma3 ? ImageSides{image_size, image_size} : gemma4_sides(*this, width, height);
}

Result<VisionSpec> vision_spec_from_config(const Json& config) {
  if (const Json* vision = find_member(config, "vision_config"); vision == nullptr || !vision->is_object()) {
    return Error(Code::kInvalidArgument, "config.json: vision_config must be an object");
  }
  return family_of_config(config) == VisionFamily::kGemma4 ? gemma4_from_config(config) : gemma3_from_config(config);
}

Result<VisionSpec> vision_spec_from_mmproj(const Metadata& metadata, std::int64_t d_text, std::int64_t n_positions) {
  if (metadata.boolean("clip.has_vision_encoder") == false) {
    return Error(Code::kUnimplemented, "clip.has_vision_encoder is false: the file encodes no images");
  }
  const VisionFamily family = TRY(family_of_projector(metadata));
  if (family == VisionFamily::kGemma4) return gemma4_from_mmproj(metadata, d_text, n_positions);
  return gemma3_from_mmproj(metadata, d_text);
}

Result<VisionSpec> vision_spec_from_gguf(const Metadata& metadata) {
  const GgufKeys keys(metadata, "gemma3");
  const RawVision raw = {.image_size = TRY(keys.integer("vision.image_size")),
                         .patch_size = TRY(keys.integer("vision.patch_size")),
                         .n_layers = TRY(keys.integer("vision.block_count")),
                         .d_model = TRY(keys.integer("vision.embedding_length")),
                         .d_ff = TRY(keys.integer("vision.feed_forward_length")),
                         .n_heads = TRY(keys.integer("vision.attention.head_count")),
                         .d_text = TRY(keys.integer("embedding_length")),
                         .norm_eps = TRY(keys.number_or("vision.attention.layer_norm_epsilon", 1e-6))};
  const std::int64_t n_rows = TRY(keys.integer_or("mm.tokens_per_image", 256));
  return checked(raw, kSingleFileNames, "gemma3.mm.tokens_per_image", n_rows);
}

bool is_mmproj(const Checkpoint& checkpoint) {
  const std::string* architecture = checkpoint.metadata().text("general.architecture");
  return architecture != nullptr && *architecture == "clip";
}

Result<std::optional<VisionSpec>> read_vision_spec(const Checkpoint& checkpoint) {
  const auto read = [&]() -> Result<std::optional<VisionSpec>> {
    if (checkpoint.format() == CheckpointFormat::kSafetensors) return read_safetensors_spec(checkpoint);
    if (is_mmproj(checkpoint)) return TRY(read_mmproj_spec(checkpoint));
    if (!checkpoint.metadata().has("gemma3.vision.block_count")) return std::nullopt;
    return TRY(vision_spec_from_gguf(checkpoint.metadata()));
  };
  auto spec = read();
  if (!spec) return spec.error().within(checkpoint.location());
  return spec;
}

Status apply_preprocessor(std::string_view text, VisionSpec& spec) {
  const Json file = TRY(parse_json(text));
  const Json* nested = find_member(file, "image_processor");
  const Json& processor = nested != nullptr ? *nested : file;
  if (!processor.is_object()) return Error(Code::kInvalidArgument, "is no JSON object");
  if (const Json* resample = find_member(processor, "resample"); resample != nullptr) {
    if (*resample != 2 && *resample != 3) {
      return Error(Code::kUnimplemented, "resample is ", printable(dump_json(*resample)),
                   "; 2 (bilinear) and 3 (bicubic) are supported");
    }
    spec.filter = *resample == 2 ? ResizeFilter::kBilinear : ResizeFilter::kBicubic;
  }
  if (const Json* factor = find_member(processor, "rescale_factor"); factor != nullptr) {
    if (!factor->is_number() || std::abs(factor->get<double>() * 255.0 - 1.0) > 1e-3) {
      return Error(Code::kUnimplemented, "rescale_factor is ", printable(dump_json(*factor)), "; 1 / 255 is supported");
    }
  }
  for (const char* step : {"do_resize", "do_rescale"}) {
    if (const Json* value = find_member(processor, step); value != nullptr && *value == false) {
      return Error(Code::kUnimplemented, step, " is false; true is supported");
    }
  }
  return spec.family == VisionFamily::kGemma4 ? apply_gemma4_processor(processor, spec)
                                              : apply_gemma3_processor(processor, spec);
}

}  // namespace commissure
