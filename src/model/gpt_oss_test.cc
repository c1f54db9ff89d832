// gpt-oss: published sizes, what its files say, and what is refused. Its mathematics: stage/family_golden_test.cc.

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "model/decoder_spec.h"
#include "model/layer_weights.h"
#include "model/quantise_at_load.h"
#include "model/tensor_names.h"
#include "support/backend_testing.h"
#include "support/checkpoint_writer.h"
#include "support/family_model.h"
#include "support/published_models.h"
#include "support/small_config.h"
#include "support/temp_folder.h"

namespace commissure::testing {
namespace {

Result<DecoderSpec> read(const std::string& config) { return spec_from_config(*parse_json(config), DType::kBF16); }

/// Bytes of the published files: experts' matrices in MXFP4, all else in bf16.
std::int64_t published_bytes(const DecoderSpec& spec) {
  std::int64_t sum = 0;
  for (const ExpectedTensor& tensor : expected_tensors(spec, {0, spec.n_layers(), true, true})) {
    const std::int64_t n = *count_elements(tensor.shape);
    sum += tensor.expert >= 0 ? n * 17 / 32 : 2 * n;
  }
  return sum;
}

TEST(GptOss, HasItsPublishedSizes) {
  for (const auto& [size, n_bytes] :
       {std::pair{kGptOss20B, kGptOss20BBytes}, std::pair{kGptOss120B, kGptOss120BBytes}}) {
    const auto spec = read(size_config(size));
    ASSERT_TRUE(spec.has_value()) << spec.error().message();
    EXPECT_EQ(count_parameters(*spec).all, size.parameters) << size.name;
    EXPECT_EQ(published_bytes(*spec), n_bytes) << size.name << ": its index's total_size";
    for (int layer = 0; layer < size.layers; ++layer) {
      EXPECT_EQ(spec->layers[layer].window, layer % 2 == 0 ? 128 : 0);
      EXPECT_TRUE(spec->layers[layer].sinks && spec->layers[layer].qkv_bias && spec->layers[layer].output_bias);
    }
    EXPECT_EQ(spec->layers[0].experts, (ExpertSpec{.n_experts = size.layers == 24 ? 32 : 128,
                                                   .n_used = 4,
                                                   .d_ff = 2880,
                                                   .softmax_of_used = true,
                                                   .has_biases = true}));
  }
}

/// Ends of the ramp that turn 32 times and once within 4096 positions, not rounded.
void expect_its_rotation(const RopeSpec& rope) {
  const auto plain = [](int pair) { return std::pow(150000.0, -pair / 32.0); };
  const auto pair_of = [](double turns) {
    return 32.0 * std::log(4096.0 / (turns * 2.0 * std::numbers::pi)) / std::log(150000.0);
  };
  const double low = pair_of(32.0), high = pair_of(1.0);
  ASSERT_EQ(rope.frequencies.size(), 32u);
  for (int pair = 0; pair < 32; ++pair) {
    const double slowed = std::clamp((pair - low) / (high - low), 0.0, 1.0);
    EXPECT_NEAR(rope.frequencies[pair] / plain(pair), 1.0 - slowed + slowed / 32.0, 1e-6) << pair;
  }
  EXPECT_FLOAT_EQ(rope.magnitude, 1.0f + 0.1f * std::log(32.0f));
}

/// Without the window and how positions are scaled.
Metadata gguf_header() {
  Metadata header = small_gguf_header("gpt-oss");
  for (const auto& [key, value] : {std::pair{"expert_count", 4},
                                   {"expert_used_count", 2},
                                   {"expert_feed_forward_length", 96},
                                   {"attention.key_length", 64},
                                   {"attention.value_length", 64}}) {
    header.set(std::string("gpt-oss.") + key, std::int64_t{value});
  }
  return header;
}

TEST(GptOss, RotatesByYarnWhoseRampEndsBetweenPairs) {
  expect_its_rotation(read(size_config(kGptOss20B))->ropes[0]);
  const std::string written =
      R"({"rope_theta":150000,"rope_scaling":{"beta_fast":32.0,"beta_slow":1.0,"factor":32.0,"rope_type":"yarn",
      "original_max_position_embeddings":4096,"truncate":false}})";
  expect_its_rotation(read(small_config("gpt_oss", written))->ropes[0]);

  Metadata header = gguf_header();
  header.set("gpt-oss.attention.sliding_window", std::int64_t{32});
  header.set("gpt-oss.rope.scaling.original_context_length", std::int64_t{4096});
  header.set("gpt-oss.rope.scaling.type", std::string("yarn"));
  header.set("gpt-oss.rope.scaling.factor", 32.0);
  header.set("gpt-oss.rope.freq_base", 150000.0);
  const auto spec = spec_from_gguf(header, {.n_vocab = 9});
  ASSERT_TRUE(spec.has_value()) << spec.error().message();
  expect_its_rotation(spec->ropes[0]);
  EXPECT_EQ(spec->layers[0].window, 32);
  EXPECT_EQ(spec->layers[1].window, 0);
}

TEST(GptOss, AGgufThatLeavesOutWindowAndScalingHasThoseOfThePublishedModels) {
  const auto spec = spec_from_gguf(gguf_header(), {.n_vocab = 9});
  ASSERT_TRUE(spec.has_value()) << spec.error().message();
  expect_its_rotation(spec->ropes[0]);
  EXPECT_EQ(spec->layers[0].window, 128);
  EXPECT_EQ(spec->layers[1].window, 0);

  Metadata unscaled = gguf_header();
  unscaled.set("gpt-oss.rope.scaling.type", std::string("none"));
  EXPECT_EQ(spec_from_gguf(unscaled, {.n_vocab = 9})->ropes[0].magnitude, 1.0f) << "said, not left out";
}

TEST(GptOss, NoWindowAtAllIsNotTheUsualWindow) {
  EXPECT_EQ(read(small_config("gpt_oss", "{}"))->layers[0].window, 128);
  EXPECT_EQ(read(small_config("gpt_oss", R"({"sliding_window":32})"))->layers[0].window, 32);
  EXPECT_EQ(read(small_config("gpt_oss", R"({"sliding_window":null})"))->layers[0].window, 0);
}

TEST(GptOss, AnAttentionMatrixStoredQuantisedBesideBlocksIsRefusedForWhatItIs) {
  const std::string query = "model.layers.0.self_attn.q_proj.weight";
  for (FamilyCase& family : family_cases(std::string(COMMISSURE_SOURCE_DIR) + "/tests/golden/families")) {
    if (family.name != "gpt-oss-mxfp4") continue;
    family.shapes.erase(query);
    const TempFolder folder;
    write_family_safetensors(family, folder);
    folder.write("more.safetensors",
                 safetensors_bytes({counting_tensor(query + ".commissure_q8_0", DType::kU8, {64, 68}, 1)}));
    const auto checkpoint = Checkpoint::open(folder.write(
        "model.safetensors.index.json", R"({"weight_map":{"a":"model.safetensors","b":"more.safetensors"}})"));
    ASSERT_TRUE(checkpoint.has_value()) << checkpoint.error().message();
    const auto spec = read_decoder_spec(**checkpoint);
    ASSERT_TRUE(spec.has_value()) << spec.error().message();
    const auto backend = backend_for("generic", 1);
    const auto loaded = load_weights(*backend, **checkpoint, *spec, {0, spec->n_layers(), true, true}, {});
    ASSERT_FALSE(loaded.has_value());
    EXPECT_NE(loaded.error().message().find(query), std::string::npos) << loaded.error().message();
    EXPECT_NE(loaded.error().message().find("gpt-oss's MXFP4"), std::string::npos) << loaded.error().message();
    return;
  }
  FAIL() << "there is no such golden";
}

TEST(GptOss, ItsGgufTensorsAreNamedAsItsConverterNamesThem) {
  DecoderSpec spec = *read(small_config("gpt_oss", R"({"num_local_experts":2,"num_experts_per_tok":1})"));
  spec.naming = {.format = CheckpointFormat::kGguf, .prefix = "", .head = "output.weight"};
  std::string names;
  for (const ExpectedTensor& tensor : expected_tensors(spec, {1, 2, false, false})) names += tensor.name + " ";
  EXPECT_EQ(names,
            "blk.1.attn_norm.weight blk.1.attn_q.weight blk.1.attn_k.weight blk.1.attn_v.weight blk.1.attn_q.bias "
            "blk.1.attn_k.bias blk.1.attn_v.bias blk.1.attn_sinks.weight blk.1.attn_output.weight "
            "blk.1.attn_output.bias blk.1.post_attention_norm.weight blk.1.ffn_gate_inp.weight "
            "blk.1.ffn_gate_inp.bias blk.1.ffn_gate_exps.weight blk.1.ffn_up_exps.weight blk.1.ffn_down_exps.weight "
            "blk.1.ffn_gate_exps.weight blk.1.ffn_up_exps.weight blk.1.ffn_down_exps.weight blk.1.ffn_gate_exps.bias "
            "blk.1.ffn_up_exps.bias blk.1.ffn_down_exps.bias ");
}

TEST(GptOss, RefusesByNameWhatItDoesNotDo) {
  struct Refusal {
    const char* changes;
    Code code;
    const char* named;
  };
  for (const Refusal& wrong : std::initializer_list<Refusal>{
           {R"({"swiglu_limit":5.0})", Code::kUnimplemented, "swiglu_limit is 5; only 7"},
           {R"({"swiglu_alpha":1.5})", Code::kUnimplemented, "swiglu_alpha is 1.5; only 1.702"},
           {R"({"hidden_act":"gelu"})", Code::kUnimplemented, "hidden_act"},
           {R"({"num_local_experts":4,"num_experts":8})", Code::kInvalidArgument,
            "num_local_experts is 4, num_experts 8"},
           {R"({"num_experts_per_tok":4,"experts_per_token":2})", Code::kInvalidArgument, "experts_per_token 2"},
           {R"({"num_local_experts":2})", Code::kInvalidArgument, "experts used of a row is 4, must be 1 to 2"}}) {
    const auto spec = read(small_config("gpt_oss", wrong.changes));
    ASSERT_FALSE(spec.has_value()) << wrong.changes;
    EXPECT_EQ(spec.error().code(), wrong.code) << wrong.changes;
    EXPECT_NE(spec.error().message().find(wrong.named), std::string::npos) << spec.error().message();
  }
  EXPECT_TRUE(read(small_config("gpt_oss", R"({"swiglu_limit":7.0,"swiglu_alpha":1.702})")).has_value());
  const Status quantised = check_quantisable(*read(small_config("gpt_oss", "{}")), nullptr);
  ASSERT_FALSE(quantised.has_value());
  EXPECT_EQ(quantised.error().code(), Code::kUnimplemented);
  EXPECT_NE(quantised.error().message().find("belongs to experts"), std::string::npos) << quantised.error().message();
}

}  // namespace
}  // namespace commissure::testing
