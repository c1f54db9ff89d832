#include "synth/shapes.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "model/decoder_spec.h"
#include "support/small_config.h"

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
    EXPECT_EQ(kv_bytes(*spec), std::int64_t{4} * shape.n_layers * shape.n_kv_heads * shape.head_dim) << shape.name;
    EXPECT_EQ(spec->layers[0].heads.head_dim, shape.head_dim) << shape.name;
  }
}

TEST(Shapes, HaveWhatTheirFamilyHas) {
  for (const Shape& shape : known_shapes()) {
    const DecoderSpec spec = *spec_of(shape);
    const LayerSpec& layer = spec.layers.front();
    const std::string_view family = shape.family;
    EXPECT_EQ(widest_window(spec) > 0, family.starts_with("gemma")) << shape.name;
    EXPECT_EQ(layer.qkv_bias, family.starts_with("qwen2")) << shape.name;
    EXPECT_EQ(layer.qk_norm, family.starts_with("qwen3") || family == "olmo2" || family == "gemma3_text") << shape.name;
    EXPECT_EQ(layer.experts.n_experts > 0, family.ends_with("_moe")) << shape.name;
    EXPECT_EQ(spec.layers[3].rope < 0, family == "smollm3") << shape.name;
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
