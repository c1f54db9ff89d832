#include "support/vision_model.h"

#include <cmath>
#include <cstdlib>
#include <utility>

#include "core/index.h"
#include "support/checkpoint_writer.h"
#include "support/golden_files.h"
#include "support/toy_values.h"

namespace commissure::testing {
namespace {

constexpr std::uint64_t kSeed = 20261129;

bool holds(const std::string& name, const char* part) { return name.find(part) != std::string::npos; }

std::vector<std::int64_t> shape_of(const Json& shape) { return shape.get<std::vector<std::int64_t>>(); }

/// Centre and scale of a tensor's values.
struct Rule {
  float centre = 0.0f, scale = 0.0f;
};

/// As weights() in Gemma 3's script.
Rule gemma3_rule(const std::string& name, const std::vector<std::int64_t>& shape) {
  if (name.ends_with(".bias")) return {0.0f, 0.5f};
  if (shape.size() == 1) return {holds(name, "layer_norm") || holds(name, "post_layernorm") ? 1.0f : 0.0f, 0.25f};
  return {0.0f, holds(name, "embed_tokens.") ? 0.0234375f : 2.0f / std::sqrt(static_cast<float>(shape.back()))};
}

Rule rule_of(const Json& entry) { return {entry[0].get<float>(), entry[1].get<float>()}; }

std::vector<float> values_of(const VisionCase& vision, const std::string& name,
                             const std::vector<std::int64_t>& shape) {
  std::int64_t n = 1;
  for (const std::int64_t size : shape) n *= size;
  std::vector<float> values = noise(name, kSeed, n);
  const auto [centre, scale] = vision.values.is_null() ? gemma3_rule(name, shape) : rule_of(vision.values[name]);
  const bool is_altered = !vision.altered.empty() && holds(name, vision.altered.c_str());
  for (std::size_t i = 0; i < values.size(); ++i) {
    float& value = values[i];
    value = to_float(to_bf16(centre + scale * value));
    if (is_altered && i % 2 == 0) value = shape.size() <= 1 ? 0.5f * value + 0.5f : -value;
  }
  return values;
}

ToyTensor tensor_of(std::string name, std::vector<std::int64_t> shape, const std::vector<float>& values, DType dtype) {
  if (dtype == DType::kF32) return float_tensor(std::move(name), std::move(shape), values);
  std::string bytes;
  for (const float value : values) {
    bytes += little_endian(dtype == DType::kBF16 ? to_bf16(value) : float_to_half(value));
  }
  return {std::move(name), dtype, std::move(shape), std::move(bytes)};
}

/// A name of the hub in another layout of its files; of Gemma 4's there is one.
std::string in_layout(const std::string& name, HubLayout layout) {
  if (name.starts_with("model.")) return name;
  static const std::string text = "language_model.model.", tower = "vision_tower.vision_model.";
  if (layout == HubLayout::kPublished) return name;
  if (name.starts_with(text)) return "model.language_model." + name.substr(text.size());
  if (name.starts_with(tower) && layout == HubLayout::kFlat) return "model.vision_tower." + name.substr(tower.size());
  return "model." + name;
}

void write_header(const Json& header, GgufWriter& writer) {
  for (const auto& [key, value] : header.items()) {
    if (value.is_boolean()) {
      writer.boolean(key, value.get<bool>());
    } else if (value.is_number_integer()) {
      writer.u32(key, value.get<std::uint32_t>());
    } else if (value.is_number()) {
      writer.f32(key, value.get<float>());
    } else if (value.is_array()) {
      writer.floats(key, value.get<std::vector<float>>());
    } else {
      writer.text(key, value.get<std::string>());
    }
  }
}

/// [outputs, y, x, colour] as [outputs, colour, y, x].
void make_convolution(const VisionCase& vision, std::vector<std::int64_t>& shape, std::vector<float>& values) {
  const auto size = vision.config["vision_config"]["patch_size"].get<std::int64_t>();
  const std::vector<float> from = values;
  const std::size_t n_pixels = to_size(size * size);
  for (std::size_t i = 0; i < from.size(); ++i) {
    const std::size_t column = i % (3 * n_pixels);
    values[i - column + column % 3 * n_pixels + column / 3] = from[i];
  }
  shape = {shape[0], 3, size, size};
}

/// Of Gemma 3 a square, of Gemma 4 as many cells of pooled patches as the file says.
std::vector<Image> images_of(const VisionCase& vision, const Json& entry) {
  std::vector<Image> images;
  const Json& tower = vision.config["vision_config"];
  for (int image = 0; image < count_of(vision.features); ++image) {
    int width = tower.value("image_size", 0), height = width;
    if (entry.contains("cells")) {
      const int side = tower["patch_size"].get<int>() * tower["pooling_kernel_size"].get<int>();
      width = side * entry["cells"][to_size(image)][0].get<int>();
      height = side * entry["cells"][to_size(image)][1].get<int>();
    }
    images.push_back({width, height, vision_pixels(image, width, height)});
  }
  return images;
}

/// The tensors that `names` renames; norms of (1 + w) as w + 1.
void write_tensors(const VisionCase& vision, const Json& names, DType matrices, GgufWriter& writer) {
  for (const auto& [name, gguf_name] : names.items()) {
    std::vector<std::int64_t> shape = shape_of(vision.shapes[name]);
    std::vector<float> values = values_of(vision, name, shape);
    const bool is_layer_norm = holds(name, "layer_norm") || holds(name, "post_layernorm");
    for (float& value : values) {
      if (vision.values.is_null() && shape.size() == 1 && holds(name, "norm") && !is_layer_norm) value += 1.0f;
    }
    if (holds(name, "patch_embedder.input_proj")) make_convolution(vision, shape, values);
    if (shape.empty()) shape = {1};
    const DType dtype = shape.size() == 1 || holds(name, "position_embedding") ? DType::kF32 : matrices;
    writer.tensor(tensor_of(gguf_name.get<std::string>(), shape, values, dtype));
  }
}

VisionPrompt prompt_of(const Json& entry) {
  VisionPrompt prompt = {.ids = entry["ids"].get<std::vector<int>>(),
                         .images = {},
                         .logprobs = entry["logprobs"].get<std::vector<double>>(),
                         .last = entry["last"].get<std::vector<double>>(),
                         .greedy = entry["greedy"].get<std::vector<int>>()};
  for (const Json& image : entry["images"]) {
    prompt.images.push_back({image["image"].get<int>(), image["first_position"].get<int>()});
  }
  return prompt;
}

}  // namespace

std::vector<VisionCase> vision_cases(const std::string& path) {
  const auto file = parse_json(read_file(path));
  if (!file) std::abort();  // part of the source tree
  std::vector<VisionCase> cases;
  for (const Json& entry : (*file)["cases"]) {
    cases.push_back({.name = entry["name"].get<std::string>(),
                     .config = entry["config"],
                     .shapes = entry["shapes"],
                     .mmproj = entry["mmproj"],
                     .gguf = entry.value("gguf", Json()),
                     .values = entry.value("values", Json()),
                     .images = {},
                     .features = entry["features"].get<std::vector<std::vector<float>>>(),
                     .prompts = {}});
    VisionCase& vision = cases.back();
    vision.images = images_of(vision, entry);
    const Json& text = vision.config["text_config"];
    vision.see_each_other = vision.values.is_null() || text.value("use_bidirectional_attention", Json()) == "vision";
    for (const Json& prompt : entry["prompts"]) cases.back().prompts.push_back(prompt_of(prompt));
  }
  return cases;
}

std::vector<VisionCase> all_vision_cases(const std::string& source_dir) {
  const std::string folder = source_dir + "/tests/golden/vision/";
  std::vector<VisionCase> cases = vision_cases(folder + "gemma3.json");
  for (VisionCase& vision : vision_cases(folder + "gemma4.json")) cases.push_back(std::move(vision));
  return cases;
}

std::vector<std::uint8_t> vision_pixels(int image, int size) { return vision_pixels(image, size, size); }

std::vector<std::uint8_t> vision_pixels(int image, int width, int height) {
  std::vector<std::uint8_t> rgb;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < 3; ++c) {
        rgb.push_back(static_cast<std::uint8_t>((3 * x * x + 5 * x * y + 17 * y + 31 * c + 101 * image) % 256));
      }
    }
  }
  return rgb;
}

void write_vision_safetensors(const VisionCase& vision, const TempFolder& folder, DType dtype, HubLayout layout) {
  std::vector<ToyTensor> tensors;
  for (const auto& [name, sizes] : vision.shapes.items()) {
    const std::vector<std::int64_t> shape = shape_of(sizes);
    tensors.push_back(tensor_of(in_layout(name, layout), shape, values_of(vision, name, shape), dtype));
  }
  folder.write("config.json", dump_json(vision.config));
  folder.write("model.safetensors", safetensors_bytes(tensors));
}

std::string vision_mmproj(const VisionCase& vision, DType matrices) {
  GgufWriter writer;
  write_header(vision.mmproj["header"], writer);
  write_tensors(vision, vision.mmproj["names"], matrices, writer);
  return writer.bytes();
}

std::string vision_text_gguf(const VisionCase& vision) {
  GgufWriter writer;
  writer.text("general.architecture", vision.gguf["architecture"].get<std::string>());
  write_header(vision.gguf["header"], writer);
  write_tensors(vision, vision.gguf["names"], DType::kF32, writer);
  return writer.bytes();
}

}  // namespace commissure::testing
