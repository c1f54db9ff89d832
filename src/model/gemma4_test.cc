// What Gemma 4's files say of it: published sizes, shared keys and values, per-layer embeddings, and what is refused.

#include <gtest/gtest.h>

#include <cmath>

#include "core/index.h"
#include "model/boundary_layout.h"
#include "model/decoder_spec.h"
#include "model/raw_spec.h"
#include "model/tensor_names.h"
#include "support/checkpoint_writer.h"
#include "support/published_models.h"
#include "support/temp_folder.h"

namespace commissure::testing {
namespace {

Result<DecoderSpec> read(const std::string& config) { return spec_from_config(*parse_json(config), DType::kBF16); }

std::int64_t n_parameters(const DecoderSpec& spec, const ModelPart& part) {
  std::int64_t total = 0;
  for (const ExpectedTensor& tensor : expected_tensors(spec, part)) total += *count_elements(tensor.shape);
  const auto table = expected_table(spec, part);
  return table ? total + *count_elements(table->shape) : total;
}
std::int64_t n_parameters(const DecoderSpec& spec) { return n_parameters(spec, {0, spec.n_layers(), true, true}); }

TEST(Gemma4, HasItsPublishedSizes) {
  for (const Gemma4Size& size : gemma4_sizes()) {
    const auto spec = read(dump_json(gemma4_config(size)));
    ASSERT_TRUE(spec.has_value()) << size.name << ": " << spec.error().message();
    EXPECT_EQ(n_parameters(*spec), size.parameters) << size.name;
    std::int64_t full = 0, ring = 0;
    for (const LayerSpec& layer : spec->layers) {
      if (layer.kv_owner >= 0) continue;
      (layer.window == 0 ? full : ring) += 4 * layer.heads.n_kv_heads * layer.heads.head_dim;
    }
    EXPECT_EQ(full, size.full_kv_bytes) << size.name;
    EXPECT_EQ(ring * size.window, size.sliding_ring_bytes) << size.name;
  }
}

TEST(Gemma4, PartsAddUpToTheWhole) {
  // Each stage loads the norm of the per-layer inputs; all else exists once.
  const auto spec = read(dump_json(gemma4_config(gemma4_sizes()[0])));
  std::int64_t total = 0;
  for (const ModelPart& part : {ModelPart{0, 9, true, false}, {9, 20, false, false}, {20, 35, false, false}}) {
    total += n_parameters(*spec, part);
  }
  EXPECT_EQ(total, gemma4_sizes()[0].parameters - 1536 + 2 * 256) << "less the final norm, the head being tied";
}

TEST(Gemma4, LastLayersReadTheKeysOfTheLastOfTheirKind) {
  const auto spec = read(dump_json(gemma4_config(gemma4_sizes()[0])));
  EXPECT_EQ(spec->layers[14].kv_owner, -1);
  EXPECT_EQ(spec->layers[15].kv_owner, 13);
  EXPECT_EQ(spec->layers[34].kv_owner, 14);
  EXPECT_EQ(spec->layers[14].d_ff, 6144);
  EXPECT_EQ(spec->layers[15].d_ff, 12288);
  EXPECT_EQ(spec->layers[34].heads.head_dim, 512);
  EXPECT_EQ(spec->layers[15].attention_scale, 1.0f);
  EXPECT_EQ(spec->final_softcap, 30.0f);
  // A quarter of the pairs turns, at the frequencies of the whole head.
  const std::vector<float>& turns = spec->ropes[spec->layers[34].rope].frequencies;
  ASSERT_EQ(turns.size(), 256u);
  EXPECT_FLOAT_EQ(turns[63], static_cast<float>(std::pow(1e6, -126.0 / 512.0)));
  EXPECT_EQ(turns[64], 0.0f);
  EXPECT_EQ(spec->ropes[spec->layers[33].rope].frequencies.size(), 128u);
}

TEST(Gemma4, HeadsMayBeListedLayerByLayer) {
  Json config = gemma4_config(gemma4_sizes()[4]);
  const auto first = read(dump_json(config));
  Json& text = config["text_config"];
  text.erase("global_head_dim");
  text.erase("num_global_key_value_heads");
  for (int i = 5; i < 60; i += 6) {
    text["per_layer_config"][std::to_string(i)] = {{"head_dim", 512}, {"num_key_value_heads", 4}};
  }
  const auto listed = read(dump_json(config));
  ASSERT_TRUE(listed.has_value()) << listed.error().message();
  EXPECT_EQ(n_parameters(*listed), n_parameters(*first));
  EXPECT_EQ(listed->layers[5].heads.n_kv_heads, 4);
  text["per_layer_config"]["11"]["head_dim"] = 256;
  const auto uneven = read(dump_json(config));
  ASSERT_FALSE(uneven.has_value());
  EXPECT_NE(uneven.error().message().find("layer 11"), std::string::npos) << uneven.error().message();
}

TEST(Gemma4, RefusesWhatItDoesNotCompute) {
  struct Refusal {
    const char* changes;
    const char* named;
  };
  for (const Refusal& refusal : std::initializer_list<Refusal>{
           {R"({"enable_moe_block":true})", "num_experts is missing"},
           {R"({"enable_moe_block":true,"num_experts":0})", "num_experts is 0"},
           {R"({"enable_moe_block":true,"num_experts":4,"top_k_experts":5,"moe_intermediate_size":8})",
            "experts used of a row is 5"},
           {R"({"use_bidirectional_attention":"all"})", "\"all\""},
           {R"({"vocab_size_per_layer_input":1000})", "vocab_size_per_layer_input is 1000"},
           {R"({"num_kv_shared_layers":31})", "none of the 4 layers before has full attention"},
           {R"({"num_kv_shared_layers":35})", "share keys and values is 35"},
           {R"({"num_kv_shared_layers":-9223372036854775808})", "share keys and values is -9223372036854775808"},
           {R"({"intermediate_size":-9223372036854775808})", "feed-forward width is -9223372036854775808"},
           {R"({"intermediate_size":4611686018427387903})", "feed-forward width is 4611686018427387903"},
           {R"({"hidden_size_per_layer_input":65537})", "per-layer embeddings is 65537"},
           {R"({"global_head_dim":-5})", "global_head_dim is -5"},
           {R"({"global_head_dim":514,"head_dim":513})", "odd"},
           {R"({"attention_k_eq_v":true,"num_global_key_value_heads":0})", "num_global_key_value_heads is 0"},
           {R"({"sliding_window":0})", "sliding_window is 0"},
           {R"({"per_layer_config":{"4":{"head_dim":0}}})", "head_dim is 0"},
           {R"({"per_layer_config":{"0":{"sliding_window":256}}})", "a sliding_window of its own"},
           {R"({"rope_parameters":{"full_attention":{"rope_type":"default"}}})", "no sliding_attention"},
           {R"({"hidden_activation":"relu"})", "\"relu\""}}) {
    Json config = gemma4_config(gemma4_sizes()[0]);
    config["text_config"].update(*parse_json(refusal.changes));
    const auto spec = read(dump_json(config));
    ASSERT_FALSE(spec.has_value()) << refusal.changes;
    EXPECT_NE(spec.error().message().find(refusal.named), std::string::npos) << spec.error().message();
  }
}

TEST(Gemma4, WhatAFileLeavesOutIsAsTransformersHasIt) {
  Json config = gemma4_config(gemma4_sizes()[0]);
  Json& text = config["text_config"];
  const auto said = read(dump_json(config));
  text.erase("rope_parameters");
  text["layer_types"].back() = "sliding_attention";  // the last sees all whatever the file says
  const auto unsaid = read(dump_json(config));
  ASSERT_TRUE(said.has_value() && unsaid.has_value()) << unsaid.error().message();
  ASSERT_EQ(unsaid->ropes.size(), 2u);
  for (const std::size_t rope : {0, 1}) EXPECT_EQ(unsaid->ropes[rope].frequencies, said->ropes[rope].frequencies);
  EXPECT_EQ(unsaid->layers[34].window, 0);
  EXPECT_EQ(unsaid->layers[34].kv_owner, 14);

  config = gemma4_config(gemma4_sizes()[2]);
  Json& unified = config["text_config"];
  for (const char* key : {"hidden_size_per_layer_input", "vocab_size_per_layer_input", "sliding_window"}) {
    unified.erase(key);
  }
  config["model_type"] = "gemma4_unified";
  unified["model_type"] = "gemma4_unified_text";
  const auto twelve = read(dump_json(config));
  ASSERT_TRUE(twelve.has_value()) << twelve.error().message();
  EXPECT_EQ(twelve->per_layer_width, 0) << "the unified kind has none";
  EXPECT_EQ(twelve->layers[0].window, 1024);
  EXPECT_EQ(twelve->n_context, 262144);
}

TEST(Gemma4, LayersReadTheKeysOfTheirOwnKindWhateverTheWindow) {
  // Heads of the two kinds differ in size, so a layer that read the other kind's would leave its memory.
  RawSpec raw;
  raw.n_layers = 4;
  raw.d_model = raw.d_ff = raw.n_vocab = 64;
  raw.n_context = 100;
  raw.n_heads = 4;
  raw.n_kv_heads = 2;
  raw.head_dim = 16;
  raw.full_head_dim = 32;
  raw.n_sharing = 2;
  raw.sliding = {false, true, true, false};
  raw.sliding_rope = RawRope();
  raw.window = 0;
  const auto spec = build_spec(raw);
  ASSERT_TRUE(spec.has_value()) << spec.error().message();
  EXPECT_EQ(spec->layers[2].kv_owner, 1);
  EXPECT_EQ(spec->layers[3].kv_owner, 0);
  for (const int layer : {2, 3}) {
    const LayerSpec& reader = spec->layers[to_size(layer)];
    EXPECT_EQ(reader.heads.head_dim, spec->layers[to_size(reader.kv_owner)].heads.head_dim);
  }
}

TEST(Gemma4, ABoundaryCarriesWhatLayersBehindItNeed) {
  const auto e2b = read(dump_json(gemma4_config(gemma4_sizes()[0])));
  EXPECT_EQ(boundary_layout(*e2b, 12).width, 2 * 1536) << "the embedded row beside the residual";
  EXPECT_EQ(boundary_layout(*e2b, 14).width, 2 * 1536 + 2 * 256) << "keys and values of layer 13";
  EXPECT_EQ(boundary_layout(*e2b, 20).width, 2 * 1536 + 2 * 256 + 2 * 512);
  EXPECT_EQ(foreign_owners(*e2b, 20, 25), (std::vector<int>{13, 14}));
  EXPECT_EQ(foreign_owners(*e2b, 20, 21).size() + foreign_owners(*e2b, 14, 15).size(), 1u) << "only what is read here";
  EXPECT_TRUE(foreign_owners(*e2b, 0, 35).empty());
  EXPECT_EQ(kept_kv(*e2b, 20, 35), (std::vector<int>{13, 14}));
  EXPECT_EQ(kept_kv(*e2b, 12, 20), (std::vector<int>{12, 13, 14}));
  const auto dense = read(dump_json(gemma4_config(gemma4_sizes()[2])));
  for (const int cut : {1, 20, 47}) EXPECT_EQ(boundary_layout(*dense, cut).width, 3840);
}

/// A checkpoint of two layers, the second of which reads the keys and values of the first.
struct SharingModel {
  std::int64_t table_rows = 100;  ///< 0: no table
  bool is_made = false;           ///< the table is quantised while it is loaded
};

Result<DecoderSpec> read_sharing(const std::vector<std::string>& more_names, const SharingModel& model = {}) {
  Json text = *parse_json(R"({"model_type":"gemma4_text","num_hidden_layers":2,"hidden_size":64,"intermediate_size":96,
    "num_attention_heads":4,"num_key_value_heads":2,"vocab_size":100,"vocab_size_per_layer_input":100,"head_dim":16,
    "global_head_dim":16,"hidden_size_per_layer_input":32,"num_kv_shared_layers":1,
    "layer_types":["full_attention","full_attention"]})");
  const auto spec = read(dump_json(text));
  std::vector<ToyTensor> tensors;
  const ModelPart whole{0, 2, true, true};
  for (const ExpectedTensor& tensor : expected_tensors(*spec, whole)) {
    tensors.push_back(counting_tensor(tensor.name, DType::kBF16, tensor.shape, 1));
  }
  const std::string table = expected_table(*spec, whole)->name;
  if (model.table_rows > 0) tensors.push_back(counting_tensor(table, DType::kBF16, {model.table_rows, 64}, 1));
  for (const std::string& name : more_names) tensors.push_back(counting_tensor(name, DType::kBF16, {32, 64}, 1));
  const TempFolder folder;
  folder.write("config.json", dump_json(text));
  folder.write("model.safetensors", safetensors_bytes(tensors));
  const auto checkpoint = Checkpoint::open(folder.path());
  if (!checkpoint) return checkpoint.error();
  if (model.is_made) (*checkpoint)->quantise(table, DType::kQ8_0);
  return read_decoder_spec(**checkpoint);
}

TEST(Gemma4, ATableThatIsMissingOrNoneIsRefusedBeforeAnyWeightIsRead) {
  const auto expect_refused = [](const SharingModel& model, const char* named) {
    const auto spec = read_sharing({}, model);
    ASSERT_FALSE(spec.has_value()) << named;
    EXPECT_NE(spec.error().message().find("embed_tokens_per_layer"), std::string::npos) << spec.error().message();
    EXPECT_NE(spec.error().message().find(named), std::string::npos) << spec.error().message();
  };
  expect_refused({.table_rows = 0}, "is missing");
  expect_refused({.table_rows = 99}, "has shape [99, 64]");
  expect_refused({.table_rows = 100, .is_made = true}, "bitsandbytes");
}

TEST(Gemma4, KeysAndValuesThatNoLayerReadsMayBeThere) {
  EXPECT_TRUE(read_sharing({}).has_value()) << read_sharing({}).error().message();
  const auto unused =
      read_sharing({"model.layers.1.self_attn.k_proj.weight", "model.layers.1.self_attn.v_proj.weight"});
  EXPECT_TRUE(unused.has_value()) << unused.error().message();
  const auto surplus = read_sharing({"model.layers.1.self_attn.w_proj.weight"});
  ASSERT_FALSE(surplus.has_value());
  EXPECT_NE(surplus.error().message().find("w_proj"), std::string::npos);
}

TEST(Gemma4, AGgufSaysByItsTensorsWhetherValuesAreKeys) {
  Metadata metadata;
  metadata.set("general.architecture", std::string("gemma4"));
  for (const auto& [key, value] : {std::pair{"block_count", 3},
                                   {"context_length", 64},
                                   {"embedding_length", 64},
                                   {"feed_forward_length", 96},
                                   {"attention.head_count", 4},
                                   {"attention.key_length", 32},
                                   {"attention.key_length_swa", 16},
                                   {"attention.sliding_window", 24}}) {
    metadata.set(std::string("gemma4.") + key, std::int64_t{value});
  }
  metadata.set("gemma4.attention.layer_norm_rms_epsilon", 1e-6);
  metadata.set("gemma4.attention.head_count_kv", std::vector<std::int64_t>{2, 2, 1});
  metadata.set("gemma4.attention.sliding_window_pattern", std::vector<bool>{true, true, false});
  const auto spec = [&](bool value_is_key) {
    return spec_from_gguf(metadata, {.n_vocab = 9, .full_value_is_key = value_is_key, .rope_divisors = {}});
  };
  ASSERT_TRUE(spec(true).has_value()) << spec(true).error().message();
  EXPECT_TRUE(spec(true)->layers[2].value_is_key);
  EXPECT_FALSE(spec(true)->layers[1].value_is_key);
  EXPECT_FALSE(spec(false)->layers[2].value_is_key);
  EXPECT_EQ(spec(false)->layers[2].heads.n_kv_heads, 1);
  EXPECT_EQ(spec(false)->layers[2].heads.head_dim, 32);
  EXPECT_EQ(spec(false)->ropes[0].frequencies[4], 0.0f) << "a quarter of the pairs turns where no divisors say so";
  EXPECT_GT(spec(false)->ropes[0].frequencies[3], 0.0f);
  metadata.set("gemma4.attention.head_count_kv", std::vector<std::int64_t>{2, 1, 1});
  ASSERT_FALSE(spec(false).has_value());
  EXPECT_NE(spec(false).error().message().find("2 and 1"), std::string::npos) << spec(false).error().message();
  metadata.set("gemma4.attention.head_count_kv", std::vector<std::int64_t>{2, 1});
  EXPECT_NE(spec(false).error().message().find("2 entries for 3 layers"), std::string::npos);
  metadata.set("gemma4.attention.head_count_kv", std::vector<std::int64_t>{0, 2, 1});
  EXPECT_NE(spec(false).error().message().find("head_count_kv is 0"), std::string::npos);
  metadata.set("gemma4.attention.head_count_kv", std::int64_t{2});
  for (const char* key : {"gemma4.attention.key_length", "gemma4.attention.sliding_window"}) {
    Metadata changed = metadata;
    changed.set(key, std::int64_t{-3});
    const auto refused = spec_from_gguf(changed, {.n_vocab = 9, .rope_divisors = {}});
    ASSERT_FALSE(refused.has_value());
    EXPECT_NE(refused.error().message().find(key), std::string::npos) << refused.error().message();
  }
  metadata.set("gemma4.expert_count", std::int64_t{128});
  EXPECT_NE(spec(false).error().message().find("expert_used_count is missing"), std::string::npos);
  metadata.set("gemma4.expert_used_count", std::int64_t{8});
  metadata.set("gemma4.expert_feed_forward_length", std::int64_t{32});
  ASSERT_TRUE(spec(false).has_value()) << spec(false).error().message();
  EXPECT_EQ(spec(false)->layers[0].d_ff, 96) << "the dense feed-forward beside them";
  EXPECT_EQ(spec(false)->layers[0].experts.n_experts, 128);
}

}  // namespace
}  // namespace commissure::testing
