#include "synth/shapes.h"

#include <gtest/gtest.h>

#include <set>
#include <sstream>
#include <string>

#include <fmt/format.h>

#include "model/decoder_spec.h"
#include "support/published_models.h"
#include "support/small_config.h"
#include "support/spec_text.h"

namespace commissure::testing {
namespace {

Result<DecoderSpec> spec_of(const Shape& shape) { return spec_from_config(config_of(shape), DType::kBF16); }

/// Bytes of bf16 keys and values of one position in all layers.
std::int64_t kv_bytes(const DecoderSpec& spec) {
  std::int64_t total = 0;
  for (const LayerSpec& layer : spec.layers) total += 4 * layer.heads.n_kv_heads * layer.heads.head_dim;
  return total;
}

TEST(Shapes, HaveTheirPublishedSizes) {
  for (const Shape& shape : known_shapes()) {
    const auto spec = spec_of(shape);
    ASSERT_TRUE(spec.has_value()) << shape.name << ": " << spec.error().message();
    const Parameters found = count_parameters(*spec);
    EXPECT_EQ(found.all, shape.n_parameters) << shape.name;
    EXPECT_EQ(found.active, shape.n_active == 0 ? shape.n_parameters : shape.n_active) << shape.name;
    if (shape.family != "gemma4_text") {
      EXPECT_EQ(kv_bytes(*spec), std::int64_t{4} * shape.n_layers * shape.n_kv_heads * shape.head_dim) << shape.name;
    }
    EXPECT_EQ(spec->layers[0].heads.head_dim, shape.head_dim) << shape.name;
  }
}

TEST(Shapes, HaveWhatTheirFamilyHas) {
  for (const Shape& shape : known_shapes()) {
    const DecoderSpec spec = *spec_of(shape);
    const LayerSpec& layer = spec.layers.front();
    const std::string_view family = shape.family;
    const bool is_oss = family == "gpt_oss", is_gemma4 = family == "gemma4_text";
    const bool is_short_phi = shape.name.starts_with("phi-3");
    EXPECT_EQ(widest_window(spec) > 0, family.starts_with("gemma") || is_oss || is_short_phi) << shape.name;
    EXPECT_EQ(layer.window == 2047, is_short_phi) << shape.name;
    EXPECT_EQ(layer.qkv_bias, family.starts_with("qwen2") || is_oss) << shape.name;
    EXPECT_EQ(layer.qk_norm, family.starts_with("qwen3") || family == "olmo2" || family == "gemma3_text" || is_gemma4)
        << shape.name;
    EXPECT_EQ(layer.experts.n_experts > 0, family.ends_with("_moe") || is_oss || shape.n_active > 0) << shape.name;
    EXPECT_EQ(spec.layers[3].rope < 0, family == "smollm3") << shape.name;
  }
}

TEST(Shapes, ThereIsOneOfEveryFamilyThatIsReadButQwen35) {
  std::set<std::string, std::less<>> families;
  for (const Shape& shape : known_shapes()) families.emplace(shape.family);
  std::istringstream names(supported_architectures());
  for (std::string name; names >> name;) {
    if (name.ends_with(',')) name.pop_back();
    if (name == "mistral3") continue;           // a Mistral with an image encoder
    if (name.starts_with("qwen3_5")) continue;  // layers with states are not made up yet
    EXPECT_TRUE(families.contains(name) || families.contains(name + "_text")) << name;
  }
}

void expect_same(const DecoderSpec& spec, const DecoderSpec& published, std::string_view name) {
  EXPECT_EQ(text_of(spec), text_of(published)) << name;
  ASSERT_EQ(spec.n_layers(), published.n_layers()) << name;
  for (int layer = 0; layer < spec.n_layers(); ++layer) {
    ASSERT_EQ(text_of(spec.layers[layer]), text_of(published.layers[layer])) << name << " layer " << layer;
  }
  for (std::size_t rope = 0; rope < spec.ropes.size(); ++rope) {
    EXPECT_EQ(spec.ropes[rope].frequencies, published.ropes[rope].frequencies) << name;
    EXPECT_EQ(spec.ropes[rope].magnitude, published.ropes[rope].magnitude) << name;
  }
}

TEST(Shapes, OfGemma4AndGptOssAreWhatThePublishedFilesSay) {
  for (const auto& size : gemma4_sizes()) {
    const std::string name = fmt::format("gemma-4-{}", size.name);
    Json config = gemma4_config(size);
    config["text_config"]["max_position_embeddings"] = size.per_layer > 0 ? 131072 : 262144;
    expect_same(*spec_of(**find_shape(name)), *spec_from_config(config, DType::kBF16), name);
  }
  for (const ModelSize& size : {kGptOss20B, kGptOss120B}) {
    expect_same(*spec_of(**find_shape(size.name)), *spec_from_config(*parse_json(size_config(size)), DType::kBF16),
                size.name);
  }
}

TEST(Shapes, AreFoundHoweverTheirNamesAreSpelled) {
  for (const char* name : {"gemma-3-27b", "Gemma 3 27B", "gemma3-27b", "gemma3:27b"}) {
    const auto shape = find_shape(name);
    ASSERT_TRUE(shape.has_value()) << name;
    EXPECT_EQ((*shape)->name, "gemma-3-27b");
  }
  std::set<std::string_view> names;
  for (const Shape& shape : known_shapes()) {
    EXPECT_TRUE(names.insert(shape.name).second) << shape.name;
    EXPECT_EQ(*find_shape(shape.name), &shape) << "its plain name is another's";
  }
}

TEST(Shapes, AnUnknownOneIsAnsweredWithTheNearest) {
  const Error error = find_shape("gema-3-28b").error();
  EXPECT_EQ(error.code(), Code::kNotFound);
  EXPECT_NE(error.message().find("\"gema-3-28b\"; the nearest: gemma-3-27b"), std::string::npos) << error.message();
  EXPECT_NE(error.message().find("synth --list"), std::string::npos);
  EXPECT_LT(find_shape(std::string(100000, 'x')).error().message().size(), 400u);
  EXPECT_FALSE(find_shape("").has_value());
}

}  // namespace
}  // namespace commissure::testing
