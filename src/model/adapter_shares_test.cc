#include "model/adapter_shares.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "core/index.h"
#include "support/checkpoint_writer.h"
#include "support/temp_folder.h"

namespace commissure {
namespace {

using testing::float_tensor;
using testing::GgufWriter;
using testing::TempFolder;
using testing::ToyTensor;

/// A Llama of three layers, 64 wide, with four heads of 16 (two of keys), and a feed-forward of 96.
DecoderSpec spec_of(const std::string& type, const std::string& members = "") {
  const auto json =
      parse_json(R"({"model_type":")" + type +
                 R"(","hidden_size":64,"intermediate_size":96,"num_hidden_layers":3,"num_attention_heads":4,)"
                 R"("num_key_value_heads":2,"vocab_size":100,"max_position_embeddings":256,"rms_norm_eps":1e-6)" +
                 members + "}");
  const auto spec = spec_from_config(*json, DType::kBF16);
  EXPECT_TRUE(spec.has_value()) << spec.error().message();
  return spec.value_or(DecoderSpec());
}

ToyTensor zeros(const std::string& name, const std::vector<std::int64_t>& shape) {
  return float_tensor(name, shape, std::vector<float>(to_size(shape[0] * (shape.size() > 1 ? shape[1] : 1))));
}

std::vector<ToyTensor> pair_of(const std::string& module, int n_outputs, int n_inputs, int rank = 4) {
  return {zeros("base_model.model." + module + ".lora_A.weight", {rank, n_inputs}),
          zeros("base_model.model." + module + ".lora_B.weight", {n_outputs, rank})};
}

/// Opens the tensors as an adapter and looks for its shares.
struct Found {
  std::unique_ptr<AdapterReader> reader;
  Result<std::vector<AdapterShare>> shares;
};

Found find(const DecoderSpec& spec, const std::vector<ToyTensor>& tensors, const std::string& members = "") {
  const TempFolder folder;
  folder.write("adapter_config.json", R"({"peft_type":"LORA","r":4)" + members + "}");
  folder.write("adapter_model.safetensors", testing::safetensors_bytes(tensors));
  auto reader = AdapterReader::open(folder.path());
  if (!reader) return {nullptr, reader.error()};
  auto shares = find_adapter_shares(spec, **reader);
  return {std::move(*reader), std::move(shares)};
}

Error refusal(const DecoderSpec& spec, const std::vector<ToyTensor>& tensors, const std::string& members = "") {
  const Found found = find(spec, tensors, members);
  EXPECT_FALSE(found.shares.has_value());
  return found.shares ? Error(Code::kOk, "") : found.shares.error();
}

TEST(AdapterShares, ModulesHaveTheirMatrices) {
  for (const char* prefix : {"model.", "model.language_model.", "language_model.model."}) {
    const std::string module = std::string(prefix) + "layers.2.self_attn.k_proj";
    const Found found = find(spec_of("llama"), pair_of(module, 32, 64));
    ASSERT_TRUE(found.shares.has_value()) << found.shares.error().message();
    ASSERT_EQ(found.shares->size(), 1u);
    const AdapterShare& share = found.shares->front();
    EXPECT_EQ(share.layer, 2);
    EXPECT_EQ(share.role, TensorRole::kKey);
    EXPECT_EQ(share.module, module);
    EXPECT_EQ(share.n_outputs, 32);
    EXPECT_EQ(share.rank(), 4);
    EXPECT_EQ(share.n_turned_heads, 0);
    EXPECT_EQ(share.magnitude, nullptr);
  }
}

TEST(AdapterShares, AFusedMatrixIsThatOfSeveral) {
  const Found found = find(spec_of("phi3"), pair_of("model.layers.1.self_attn.qkv_proj", 128, 64));
  ASSERT_TRUE(found.shares.has_value()) << found.shares.error().message();
  ASSERT_EQ(found.shares->size(), 3u);
  EXPECT_EQ((*found.shares)[0].first_output, 0);
  EXPECT_EQ((*found.shares)[1].first_output, 64);
  EXPECT_EQ((*found.shares)[2].first_output, 96);
  EXPECT_EQ((*found.shares)[2].role, TensorRole::kValue);
  EXPECT_EQ(refusal(spec_of("phi3"), pair_of("model.layers.1.self_attn.qkv_proj", 64, 64)).code(),
            Code::kInvalidArgument);
  EXPECT_EQ(refusal(spec_of("llama"), pair_of("model.layers.1.self_attn.qkv_proj", 128, 64)).code(),
            Code::kUnimplemented);
}

TEST(AdapterShares, RowsOfHeadsTurnBetweenTheFormats) {
  const auto turned = [](const DecoderSpec& spec, const char* name, int n_outputs) {
    const TempFolder folder;
    GgufWriter writer;
    writer.text("general.type", "adapter").text("adapter.type", "lora").f32("adapter.lora.alpha", 1.0f);
    writer.tensor(zeros(std::string("blk.0.") + name + ".weight.lora_a", {4, 64}));
    writer.tensor(zeros(std::string("blk.0.") + name + ".weight.lora_b", {n_outputs, 4}));
    const auto reader = AdapterReader::open(folder.write("a.gguf", writer.bytes()));
    EXPECT_TRUE(reader.has_value());
    const auto shares = find_adapter_shares(spec, **reader);
    EXPECT_TRUE(shares.has_value());
    return shares->front().n_turned_heads;
  };
  EXPECT_EQ(turned(spec_of("llama"), "attn_q", 64), -4);
  EXPECT_EQ(turned(spec_of("llama"), "attn_k", 32), -2);
  EXPECT_EQ(turned(spec_of("llama"), "attn_v", 32), 0);
  EXPECT_EQ(turned(spec_of("qwen2"), "attn_q", 64), 0);
  DecoderSpec gguf = spec_of("llama");
  gguf.naming.format = CheckpointFormat::kGguf;
  EXPECT_EQ(turned(gguf, "attn_q", 64), 0);
  const Found found = find(gguf, pair_of("model.layers.0.self_attn.q_proj", 64, 64));
  EXPECT_EQ(found.shares->front().n_turned_heads, 4);
}

TEST(AdapterShares, WhatNoAdapterCanChangeIsRefusedByName) {
  const auto expect_refused = [](const DecoderSpec& spec, const std::string& module) {
    const Error error = refusal(spec, pair_of(module, 64, 64));
    EXPECT_EQ(error.code(), Code::kUnimplemented) << module;
    EXPECT_NE(error.message().find(module), std::string::npos) << error.message();
    EXPECT_NE(error.message().find("queries"), std::string::npos) << error.message();
  };
  for (const char* module :
       {"lm_head", "model.embed_tokens", "model.layers.3.self_attn.q_proj", "model.layers.-1.self_attn.q_proj",
        "model.layers.99999999999.self_attn.q_proj", "model.layers.0", "model.layers.0.",
        "model.layers.0q.self_attn.q_proj", "vision_tower.encoder.layers.0.self_attn.q_proj",
        "model.layers.0.self_attn.q_norm", "blk.0.attn_q", "model.layers.0.mlp.experts.0.gate_proj"}) {
    expect_refused(spec_of("llama"), module);
  }
  const DecoderSpec experts = spec_of("qwen3_moe", R"(,"head_dim":16,"num_experts":4,"num_experts_per_tok":2,)"
                                                   R"("moe_intermediate_size":32,"norm_topk_prob":true)");
  expect_refused(experts, "model.layers.0.mlp.gate_proj");
  expect_refused(experts, "model.layers.0.mlp.gate");
}

TEST(AdapterShares, WhatDoesNotFitIsRefusedWithBothShapes) {
  const DecoderSpec spec = spec_of("llama");
  const std::string module = "model.layers.0.self_attn.q_proj";
  const Error shape = refusal(spec, pair_of(module, 64, 32));
  EXPECT_EQ(shape.code(), Code::kInvalidArgument);
  EXPECT_NE(shape.message().find("[4, 32]"), std::string::npos) << shape.message();
  EXPECT_NE(shape.message().find("[4, 64]"), std::string::npos) << shape.message();
  EXPECT_EQ(refusal(spec, pair_of(module, 65, 64)).code(), Code::kInvalidArgument);
  EXPECT_NE(refusal(spec, pair_of(module, 64, 64, 300)).message().find("256"), std::string::npos);
  EXPECT_NE(refusal(spec, pair_of(module, 64, 64, 5)).message().find("says 4"), std::string::npos);
  auto pair = pair_of(module, 64, 64);
  EXPECT_NE(refusal(spec, {pair[0]}).message().find("only"), std::string::npos);
  EXPECT_NE(refusal(spec, {pair[1]}).message().find("only"), std::string::npos);
  EXPECT_NE(refusal(spec, pair, R"(,"use_dora":true)").message().find("lora_magnitude_vector"), std::string::npos);
  const auto magnitude = [&](std::int64_t n) {
    return zeros("base_model.model." + module + ".lora_magnitude_vector", {n});
  };
  EXPECT_EQ(refusal(spec, {pair[0], pair[1], magnitude(63)}, R"(,"use_dora":true)").code(), Code::kInvalidArgument);
  EXPECT_TRUE(find(spec, {pair[0], pair[1], magnitude(64)}, R"(,"use_dora":true)").shares.has_value());
  EXPECT_EQ(refusal(spec, {zeros("base_model.model." + module + ".lora_A.weight", {4}), pair[1]}).code(),
            Code::kInvalidArgument);
}

TEST(AdapterShares, OneMatrixIsChangedOnce) {
  const DecoderSpec spec = spec_of("llama");
  auto tensors = pair_of("model.layers.0.self_attn.q_proj", 64, 64);
  for (ToyTensor& tensor : pair_of("layers.0.self_attn.q_proj", 64, 64)) tensors.push_back(std::move(tensor));
  EXPECT_NE(refusal(spec, tensors).message().find("the same matrix"), std::string::npos);
}

}  // namespace
}  // namespace commissure
