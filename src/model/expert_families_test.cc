// What files of families with experts, fused matrices or soft caps say of them: traits, and what is refused.
// Published sizes: synth/shapes_test.cc.

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "model/decoder_spec.h"
#include "model/tensor_names.h"
#include "support/checkpoint_writer.h"
#ifdef COMMISSURE_FAILING_NEW
#include "support/failing_new.h"
#endif
#include "support/small_config.h"
#include "support/temp_folder.h"

namespace commissure::testing {
namespace {

DecoderSpec read(const std::string& config) {
  const auto spec = spec_from_config(*parse_json(config), DType::kBF16);
  EXPECT_TRUE(spec.has_value()) << config << ": " << (spec ? "" : spec.error().message());
  return spec ? *spec : DecoderSpec();
}

std::string refusal(const std::string& config) {
  const auto spec = spec_from_config(*parse_json(config), DType::kBF16);
  return spec ? "accepted" : spec.error().message();
}

TEST(ExpertFamilies, Gemma2AlternatesAndCapsUnlessItSaysNot) {
  const DecoderSpec spec = read(small_config("gemma2", "{}"));
  EXPECT_EQ(spec.final_softcap, 30.0f);
  EXPECT_EQ(spec.layers[0].attention_softcap, 50.0f);
  EXPECT_EQ(spec.layers[0].window, 4096);
  EXPECT_EQ(spec.layers[1].window, 0);
  EXPECT_TRUE(spec.tied_head && spec.layers[0].post_norms && !spec.layers[0].qk_norm);
  EXPECT_FLOAT_EQ(spec.layers[0].attention_scale, 1.0f / 16);
  const DecoderSpec without =
      read(small_config("gemma2", R"({"final_logit_softcapping":null,"attn_logit_softcapping":null})"));
  EXPECT_EQ(without.final_softcap, 0.0f);
  EXPECT_EQ(without.layers[0].attention_softcap, 0.0f);
  EXPECT_EQ(read(small_config("gemma3_text", "{}")).final_softcap, 0.0f);
  EXPECT_NE(refusal(small_config("gemma2", R"({"final_logit_softcapping":-1})")).find("final softcap is -1"),
            std::string::npos);
}

TEST(ExpertFamilies, PhiTurnsAPartOfAHeadByTheFactorsOfItsContext) {
  const auto config = [](int context) {
    return small_config("phi3", R"({"partial_rotary_factor":0.5,"original_max_position_embeddings":64,
      "rope_scaling":{"type":"su","short_factor":[1,1,1,2],"long_factor":[1,2,4,8]},"max_position_embeddings":)" +
                                    std::to_string(context) + "}");
  };
  const DecoderSpec long_one = read(config(1024)), short_one = read(config(64));
  ASSERT_EQ(long_one.ropes[0].frequencies.size(), 4u);
  EXPECT_FLOAT_EQ(long_one.ropes[0].frequencies[3], static_cast<float>(std::pow(1e4, -6.0 / 8) / 8));
  EXPECT_FLOAT_EQ(short_one.ropes[0].frequencies[3], static_cast<float>(std::pow(1e4, -6.0 / 8) / 2));
  EXPECT_FLOAT_EQ(long_one.ropes[0].magnitude, std::sqrt(1.0f + std::log(16.0f) / std::log(64.0f)));
  EXPECT_FLOAT_EQ(short_one.ropes[0].magnitude, 1.0f);
  EXPECT_TRUE(long_one.naming.fused_qkv && long_one.naming.fused_gate_up);
  Json older = *parse_json(config(1024));
  older["rope_scaling"]["type"] = "yarn";  // what early files of this family call it
  EXPECT_EQ(read(dump_json(older)).ropes, long_one.ropes);
}

TEST(ExpertFamilies, PhiRefusesFactorsThatDoNotFit) {
  const std::string begin = R"({"original_max_position_embeddings":64,"rope_scaling":{"type":"longrope",)";
  EXPECT_NE(refusal(small_config("phi3", begin + R"("short_factor":[1,2],"long_factor":[1,2]}})"))
                .find("2 rope factors, expected 8"),
            std::string::npos);
  EXPECT_NE(refusal(small_config("phi3", begin + R"("short_factor":[1,2]}})")).find("long_factor must be a list"),
            std::string::npos);
  EXPECT_NE(refusal(small_config("phi3", R"({"partial_rotary_factor":1.5})")).find("partial_rotary_factor"),
            std::string::npos);
  EXPECT_NE(refusal(small_config("phi3", R"({"rope_scaling":{"type":"longrope","short_factor":[],"long_factor":[]}})"))
                .find("original_max_position_embeddings must be given"),
            std::string::npos);
}

TEST(ExpertFamilies, FusedMatricesArePartsOfOneTensor) {
  const DecoderSpec spec = read(small_config("phi3", "{}"));
  std::vector<std::string> parts;
  for (const ExpectedTensor& tensor : expected_tensors(spec, {1, 2, false, false})) {
    if (tensor.whole_shape.empty()) continue;
    parts.push_back(tensor.name + " " + std::to_string(tensor.first) + "+" + std::to_string(tensor.shape[0]) + "/" +
                    std::to_string(tensor.whole_shape[0]));
  }
  EXPECT_EQ(parts, (std::vector<std::string>{"model.layers.1.self_attn.qkv_proj.weight 0+64/128",
                                             "model.layers.1.self_attn.qkv_proj.weight 64+32/128",
                                             "model.layers.1.self_attn.qkv_proj.weight 96+32/128",
                                             "model.layers.1.mlp.gate_up_proj.weight 0+96/192",
                                             "model.layers.1.mlp.gate_up_proj.weight 96+96/192"}));
}

TEST(ExpertFamilies, OnlySparseLayersHaveExperts) {
  const DecoderSpec spec = read(small_config("qwen3_moe", R"({"decoder_sparse_step":2,"mlp_only_layers":[3],
    "num_local_experts":6,"num_experts_per_tok":2,"moe_intermediate_size":32})"));
  for (const int layer : {0, 2, 3}) {
    EXPECT_EQ(spec.layers[layer].experts.n_experts, 0) << layer;
    EXPECT_EQ(spec.layers[layer].d_ff, 96) << layer;
  }
  const ExpertSpec expected = {.n_experts = 6, .n_used = 2, .d_ff = 32};
  EXPECT_EQ(spec.layers[1].experts, expected);
  EXPECT_EQ(spec.layers[1].d_ff, 0);
}

TEST(ExpertFamilies, ExpertsThatContradictThemselvesAreRefusedByName) {
  const auto message = [](const std::string& changes) { return refusal(small_config("qwen3_moe", changes)); };
  EXPECT_NE(message(R"({"num_experts":4,"num_experts_per_tok":5})").find("experts used of a row is 5, must be 1 to 4"),
            std::string::npos);
  EXPECT_NE(message(R"({"num_experts":4,"num_local_experts":8})").find("num_experts is 4, num_local_experts 8"),
            std::string::npos);
  EXPECT_NE(message(R"({"num_experts":100000})").find("number of experts is 100000"), std::string::npos);
  EXPECT_NE(message(R"({"num_experts":4096,"num_hidden_layers":17})")
                .find("4096 experts in each of 17 layers are more than 65536"),
            std::string::npos);
  EXPECT_NE(message(R"({"mlp_only_layers":[4]})").find("mlp_only_layers lists 4, which is no layer of 4"),
            std::string::npos);
  EXPECT_NE(message(R"({"decoder_sparse_step":0})").find("decoder_sparse_step is 0"), std::string::npos);
}

#ifdef COMMISSURE_FAILING_NEW
TEST(ExpertFamilies, ATensorThatIsMissingIsFoundBeforeMuchMemoryIsTaken) {
  const TempFolder folder;
  folder.write("config.json", small_config("qwen3_moe", R"({"num_experts":64,"num_hidden_layers":1024,
    "num_experts_per_tok":2,"moe_intermediate_size":32})"));
  folder.write("model.safetensors",
               safetensors_bytes({counting_tensor("model.embed_tokens.weight", DType::kF32, {100, 64}, 1)}));
  const auto checkpoint = Checkpoint::open(folder.path());
  ASSERT_TRUE(checkpoint.has_value()) << checkpoint.error().message();
  const FailingNew none_larger(1 << 20, FailingNew::Where::kHere);  // names and shapes of all experts take 30 MB
  const auto spec = read_decoder_spec(**checkpoint);
  ASSERT_FALSE(spec.has_value());
  EXPECT_NE(spec.error().message().find("layers.0.input_layernorm.weight is missing"), std::string::npos)
      << spec.error().message();
}
#endif

TEST(ExpertFamilies, AWindowOfQwenWithExpertsIsRefusedByName) {
  for (const char* family : {"qwen2_moe", "qwen3_moe"}) {
    EXPECT_NE(refusal(small_config(family, R"({"use_sliding_window":true})")).find("use_sliding_window"),
              std::string::npos);
    EXPECT_EQ(widest_window(read(small_config(family, R"({"use_sliding_window":false,"sliding_window":32})"))), 0);
  }
}

TEST(ExpertFamilies, SoftCapsThatKernelsCannotComputeAreRefused) {
  for (const char* cap : {"1e-30", "0.0009", "10001", "-1"}) {
    for (const char* key : {"final_logit_softcapping", "attn_logit_softcapping"}) {
      const std::string changes = std::string("{\"") + key + "\":" + cap + "}";
      EXPECT_NE(refusal(small_config("gemma2", changes)).find("softcap is"), std::string::npos) << changes;
    }
  }
  EXPECT_EQ(read(small_config("gemma2", R"({"final_logit_softcapping":0})")).final_softcap, 0.0f);
  EXPECT_EQ(read(small_config("gemma2", R"({"final_logit_softcapping":0.001})")).final_softcap, 0.001f);
}

std::string gguf_refusal(const Metadata& metadata, const GgufFacts& facts) {
  const auto spec = spec_from_gguf(metadata, facts);
  return spec ? "accepted" : spec.error().message();
}

TEST(ExpertFamilies, GgufOfPhiHasBothListsOfFactorsOrNone) {
  const Metadata metadata = small_gguf_header("phi3");
  const std::vector<float> factors(8, 2.0f);
  GgufFacts facts = {.n_vocab = 9};
  EXPECT_EQ(gguf_refusal(metadata, facts), "accepted");
  facts.long_factors = factors;
  EXPECT_NE(gguf_refusal(metadata, facts).find("only one is there"), std::string::npos);
  facts.short_factors = factors;
  EXPECT_EQ(gguf_refusal(metadata, facts), "accepted");
  facts.long_factors.clear();
  EXPECT_NE(gguf_refusal(metadata, facts).find("only one is there"), std::string::npos);
}

TEST(ExpertFamilies, NoPhiRotatesLessThanTwoValues) {
  Metadata metadata = small_gguf_header("phi3");
  for (const int n : {0, -2}) {
    metadata.set("phi3.rope.dimension_count", std::int64_t{n});
    EXPECT_NE(gguf_refusal(metadata, {.n_vocab = 9}).find("rope.dimension_count is " + std::to_string(n)),
              std::string::npos);
  }
  EXPECT_NE(refusal(small_config("phi3", R"({"partial_rotary_factor":0.01})")).find("leaves 0 values of 16"),
            std::string::npos);
}

TEST(ExpertFamilies, FactorsOfALongRopeAreOverlookedInNoFamilyButPhi) {
  const TempFolder folder;
  GgufWriter writer;
  writer.tensor(float_tensor("rope_factors_long.weight", {2}, {1, 2}));
  writer.tensor(float_tensor("rope_factors_short.weight", {2}, {1, 2}));
  const auto checkpoint = Checkpoint::open(folder.write("model.gguf", writer.bytes()));
  ASSERT_TRUE(checkpoint.has_value()) << checkpoint.error().message();
  DecoderSpec spec;
  spec.architecture = "phi3";
  EXPECT_TRUE(refuse_surplus(**checkpoint, spec).has_value());
  spec.architecture = "llama";
  const Status refused = refuse_surplus(**checkpoint, spec);
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message().find("rope_factors_long.weight"), std::string::npos);
}

TEST(ExpertFamilies, GgufOfAFamilyWithoutExpertsMayNotNameSome) {
  Metadata llama = small_gguf_header("llama"), qwen = small_gguf_header("qwen3moe");
  llama.set("llama.expert_count", std::int64_t{8});
  qwen.set("qwen3moe.expert_count", std::int64_t{8});
  EXPECT_NE(gguf_refusal(llama, {.n_vocab = 9}).find("llama.expert_count is 8"), std::string::npos);
  EXPECT_NE(gguf_refusal(qwen, {.n_vocab = 9}).find("qwen3moe.expert_used_count is missing"), std::string::npos);
  qwen.set("qwen3moe.expert_feed_forward_length", std::int64_t{32});
  for (const int n_used : {0, -1}) {
    qwen.set("qwen3moe.expert_used_count", std::int64_t{n_used});
    EXPECT_NE(gguf_refusal(qwen, {.n_vocab = 9}).find("expert_used_count is " + std::to_string(n_used)),
              std::string::npos);
  }
  qwen.set("qwen3moe.expert_used_count", std::int64_t{2});
  EXPECT_EQ(gguf_refusal(qwen, {.n_vocab = 9}), "accepted");
}

}  // namespace
}  // namespace commissure::testing
