// What files of Qwen 3.5 say: published sizes, which layers are recurrent, what is refused and what is passed over.

#include <gtest/gtest.h>

#include <string>

#include "model/decoder_spec.h"
#include "model/role_names.h"
#include "model/tensor_names.h"
#include "support/checkpoint_writer.h"
#include "support/small_config.h"
#include "support/temp_folder.h"

namespace commissure::testing {
namespace {

DecoderSpec read(const std::string& config) {
  const auto spec = spec_from_config(*parse_json(config), DType::kBF16);
  EXPECT_TRUE(spec.has_value()) << config << ": " << (spec ? "" : spec.error().message());
  return spec ? *spec : DecoderSpec();
}

std::string refusal(const std::string& changes) {
  const auto spec = spec_from_config(*parse_json(small_config("qwen3_5_text", changes)), DType::kBF16);
  return spec ? "accepted" : spec.error().message();
}

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// One place of every recurrent layer, with the convolution's rows in bf16, as published numbers count them.
std::int64_t state_bytes(const DecoderSpec& spec) {
  std::int64_t total = 0;
  for (const LayerSpec& layer : spec.layers) {
    const DeltaShape& delta = layer.delta;
    if (layer.is_recurrent())
      total += 2 * (delta.kernel - 1) * delta.n_channels() + 4 * delta.value_width() * delta.key_dim;
  }
  return total;
}

TEST(Qwen35, HasItsPublishedSizes) {
  struct Size {
    ModelSize model;
    std::int64_t kv_position_bytes, state_bytes;  ///< 0: not published
  };
  for (const auto& [size, kv, state] : std::initializer_list<Size>{
           {{"0.8B", "qwen3_5_text", 24, 1024, 8, 2, 256, 3584, 248320, true, 752393024, 0,
             R"({"linear_num_value_heads":16})"},
            12288,
            19537920},
           {{"2B", "qwen3_5_text", 24, 2048, 8, 2, 256, 6144, 248320, true, 1881825088, 0,
             R"({"linear_num_value_heads":16})"},
            12288,
            19537920},
           {{"4B", "qwen3_5_text", 32, 2560, 16, 4, 256, 9216, 248320, true, 4205751296}, 32768, 51511296},
           {{"9B", "qwen3_5_text", 32, 4096, 16, 4, 256, 12288, 248320, false, 8953803264}, 32768, 51511296},
           {{"27B", "qwen3_5_text", 64, 5120, 24, 4, 256, 17408, 248320, false, 26895998464, 0,
             R"({"linear_num_value_heads":48})"},
            65536,
            153944064},
           {{"35B-A3B", "qwen3_5_moe_text", 40, 2048, 16, 2, 256, 512, 248320, false, 34660610688}, 20480, 64389120},
           {{"122B-A10B", "qwen3_5_moe_text", 48, 3072, 32, 2, 256, 1024, 248320, false, 122111526912, 0,
             R"({"linear_num_value_heads":64,"moe_intermediate_size":1024,"shared_expert_intermediate_size":1024})"},
            0,
            0},
           {{"397B-A17B", "qwen3_5_moe_text", 60, 4096, 32, 2, 256, 1024, 248320, false, 396346350336, 0,
             R"({"linear_num_value_heads":64,"num_experts":512,"num_experts_per_tok":10,"moe_intermediate_size":1024,
                 "shared_expert_intermediate_size":1024})"},
            0,
            0},
       }) {
    const DecoderSpec spec = read(size_config(size));
    EXPECT_EQ(count_parameters(spec).all, size.parameters) << size.name;
    std::int64_t position = 0;
    for (const LayerSpec& layer : spec.layers) position += 4 * layer.heads.n_kv_heads * layer.heads.head_dim;
    EXPECT_EQ(kv > 0 ? position : 0, kv) << size.name;
    EXPECT_EQ(state > 0 ? state_bytes(spec) : 0, state) << size.name;
  }
}

TEST(Qwen35, ThreeLayersOfFourAreRecurrentUnlessAListSaysOtherwise) {
  const DecoderSpec usual = read(small_config("qwen3_5_text", "{}"));
  EXPECT_TRUE(usual.layers[0].is_recurrent() && usual.layers[2].is_recurrent() && has_states(usual));
  const LayerSpec& full = usual.layers[3];
  EXPECT_FALSE(full.is_recurrent());
  EXPECT_TRUE(full.output_gate && full.qk_norm && full.rope == 0);
  EXPECT_EQ(full.heads.head_dim, 256);
  EXPECT_EQ(usual.ropes[0].frequencies.size(), 32u) << "a quarter of a head turns";
  EXPECT_EQ(usual.norm_offset, 1.0f);
  EXPECT_EQ(usual.layers[0].heads.n_kv_heads, 0) << "no keys, no values";
  const DecoderSpec listed = read(small_config("qwen3_5_text", R"({"layer_types":["full_attention","linear_attention",
      "full_attention","full_attention"],"full_attention_interval":4})"));
  EXPECT_FALSE(listed.layers[0].is_recurrent());
  EXPECT_TRUE(listed.layers[1].is_recurrent());
  EXPECT_FALSE(has_states(read(small_config("qwen3", "{}"))));
}

TEST(Qwen35, AModelWithEyesSaysTheSameInItsTextConfig) {
  Json config = {{"model_type", "qwen3_5"},
                 {"tie_word_embeddings", true},
                 {"vision_config", {{"depth", 2}}},
                 {"text_config", *parse_json(small_config("qwen3_5_text", "{}"))}};
  const DecoderSpec spec = read(dump_json(config));
  EXPECT_EQ(spec.architecture, "qwen3_5");
  EXPECT_TRUE(spec.tied_head) << "said of the whole alone";
  config["text_config"]["model_type"] = "qwen3_next";
  const auto other = spec_from_config(config, DType::kBF16);
  ASSERT_FALSE(other.has_value());
  EXPECT_TRUE(holds(other.error().message(), "qwen3_next"));
}

TEST(Qwen35, RefusesWhatItDoesNotCompute) {
  EXPECT_TRUE(holds(refusal(R"({"attn_output_gate":false})"), "attn_output_gate"));
  EXPECT_TRUE(holds(refusal(R"({"attention_bias":true})"), "attention_bias"));
  EXPECT_TRUE(holds(refusal(R"({"output_gate_type":"sigmoid"})"), "sigmoid"));
  EXPECT_TRUE(holds(refusal(R"({"layer_types":["mamba"]})"), "mamba"));
  EXPECT_TRUE(holds(refusal(R"({"layer_types":["linear_attention"]})"), "given for 1 layers, the model has 4"));
  EXPECT_TRUE(holds(refusal(R"({"layer_types":["linear_attention","linear_attention","linear_attention",
    "linear_attention"]})"),
                    "without an attention layer"));
  EXPECT_TRUE(holds(refusal(R"({"linear_num_value_heads":24})"), "multiple of"));
  EXPECT_TRUE(holds(refusal(R"({"linear_key_head_dim":24})"), "multiples of 16"));
  EXPECT_TRUE(holds(refusal(R"({"linear_conv_kernel_dim":9})"), "convolution kernel"));
  EXPECT_TRUE(holds(refusal(R"({"linear_conv_kernel_dim":1})"), "convolution kernel"));
  EXPECT_TRUE(holds(refusal(R"({"linear_num_value_heads":0})"), "value heads"));
  EXPECT_TRUE(holds(refusal(R"({"partial_rotary_factor":0.001})"), "partial_rotary_factor"));
  EXPECT_TRUE(holds(refusal(R"({"rope_parameters":{"rope_type":"dynamic"}})"), "dynamic"));
  EXPECT_EQ(refusal(R"({"output_gate_type":"swish"})"), "accepted");
}

/// Of a small GGUF: four layers and one that predicts further.
constexpr std::pair<const char*, int> kKeys[] = {{"block_count", 5},           {"nextn_predict_layers", 1},
                                                 {"attention.key_length", 32}, {"attention.value_length", 32},
                                                 {"rope.dimension_count", 8},  {"ssm.conv_kernel", 4},
                                                 {"ssm.state_size", 16},       {"ssm.group_count", 2},
                                                 {"ssm.time_step_rank", 4},    {"ssm.inner_size", 64}};

Metadata header(const std::string& family) {
  Metadata metadata = small_gguf_header(family);
  for (const auto& [key, value] : kKeys) {
    metadata.set(family + "." + key, std::int64_t{value});
  }
  return metadata;
}

TEST(Qwen35, AGgufHeaderLeavesOutTheLayersThatPredictFurther) {
  const auto spec = spec_from_gguf(header("qwen35"), {.n_vocab = 100});
  ASSERT_TRUE(spec.has_value()) << spec.error().message();
  EXPECT_EQ(spec->n_layers(), 4);
  EXPECT_TRUE(spec->layers[0].delta.is_tiled);
  EXPECT_EQ(spec->layers[0].delta.value_dim, 16);
  EXPECT_EQ(spec->layers[3].heads.head_dim, 32);
  EXPECT_EQ(spec->ropes[0].frequencies.size(), 4u);
  EXPECT_EQ(spec->norm_offset, 0.0f) << "the converter has added it";
  EXPECT_EQ(layer_tensor_name(*spec, TensorRole::kFeedForwardNorm, 0), "blk.0.post_attention_norm.weight");
  EXPECT_EQ(layer_tensor_name(*spec, TensorRole::kDeltaRate, 0), "blk.0.ssm_a");

  for (const auto& [key, value] : {std::pair{"ssm.inner_size", 66}, {"rope.dimension_count", 0}}) {
    Metadata broken = header("qwen35");
    broken.set(std::string("qwen35.") + key, std::int64_t{value});
    const auto refused = spec_from_gguf(broken, {.n_vocab = 100});
    ASSERT_FALSE(refused.has_value());
    EXPECT_TRUE(holds(refused.error().message(), key)) << refused.error().message();
  }
}

/// A GGUF with every tensor that the spec asks for, and more.
std::string file_with(const std::vector<std::string>& more) {
  const DecoderSpec spec = *spec_from_gguf(header("qwen35"), {.n_vocab = 100});
  GgufWriter writer;
  writer.text("general.architecture", "qwen35");
  for (const auto& [key, value] : {std::pair{"context_length", 64},
                                   {"embedding_length", 64},
                                   {"feed_forward_length", 96},
                                   {"attention.head_count", 4}}) {
    writer.u32(std::string("qwen35.") + key, static_cast<std::uint32_t>(value));
  }
  for (const auto& [key, value] : kKeys) {
    writer.u32(std::string("qwen35.") + key, static_cast<std::uint32_t>(value));
  }
  writer.f32("qwen35.attention.layer_norm_rms_epsilon", 1e-6f);
  const auto zeros = [&](const std::string& name, const std::vector<std::int64_t>& shape) {
    std::int64_t n = 1;
    for (const std::int64_t size : shape) n *= size;
    writer.tensor(float_tensor(name, shape, std::vector<float>(static_cast<std::size_t>(n))));
  };
  for (const ExpectedTensor& tensor : expected_tensors(spec, {0, 4, true, true})) zeros(tensor.name, tensor.shape);
  for (const std::string& name : more) zeros(name, {64});
  return writer.bytes();
}

TEST(Qwen35, PassesOverTheTensorsOfThoseLayersAndNoOthers) {
  const auto read_file = [](const std::vector<std::string>& more) {
    const TempFolder folder;
    const auto checkpoint = Checkpoint::open(folder.write("toy.gguf", file_with(more)));
    EXPECT_TRUE(checkpoint.has_value());
    return read_decoder_spec(**checkpoint);
  };
  const auto spec = read_file({"blk.4.nextn.eh_proj.weight", "blk.4.attn_norm.weight"});
  ASSERT_TRUE(spec.has_value()) << spec.error().message();
  EXPECT_EQ(spec->n_layers(), 4);
  const auto surplus = read_file({"blk.3.ssm_a", "blk.40x.attn_norm.weight"});
  ASSERT_FALSE(surplus.has_value());
  EXPECT_TRUE(holds(surplus.error().message(), R"("blk.3.ssm_a", "blk.40x.attn_norm.weight")"))
      << surplus.error().message();
}

}  // namespace
}  // namespace commissure::testing
