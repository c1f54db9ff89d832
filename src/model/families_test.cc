// What the files of each family say of it: windows, biases, and what is refused. Published sizes: synth/shapes_test.cc.

#include <gtest/gtest.h>

#include <cmath>

#include "model/decoder_spec.h"
#include "model/tensor_names.h"
#include "support/checkpoint_writer.h"
#include "support/small_config.h"
#include "support/temp_folder.h"
#include "support/toy_model.h"

namespace commissure::testing {
namespace {

Result<DecoderSpec> read(const std::string& config) { return spec_from_config(*parse_json(config), DType::kBF16); }

TEST(Families, QwensWindowBeginsAtItsLayer) {
  for (const char* family : {"qwen2", "qwen3"}) {
    const auto unused =
        read(small_config(family, R"({"use_sliding_window":false,"sliding_window":32,"max_window_layers":2})"));
    EXPECT_EQ(widest_window(*unused), 0);
    const auto used =
        read(small_config(family, R"({"use_sliding_window":true,"sliding_window":32,"max_window_layers":3})"));
    EXPECT_EQ(used->layers[2].window, 0);
    EXPECT_EQ(used->layers[3].window, 32);
    const auto listed =
        read(small_config(family, R"({"use_sliding_window":true,"sliding_window":32,"max_window_layers":3,
      "layer_types":["sliding_attention","full_attention","full_attention","full_attention"]})"));
    EXPECT_EQ(listed->layers[0].window, 32) << "the list counts more than the number";
    EXPECT_EQ(listed->layers[3].window, 0);
    const auto none =
        read(small_config(family, R"({"use_sliding_window":true,"sliding_window":null,"max_window_layers":0})"));
    EXPECT_EQ(widest_window(*none), 0);
  }
}

TEST(Families, Qwen3sHeadsHave128ValuesUnlessItSaysSo) {
  EXPECT_EQ(read(small_config("qwen3", "{}"))->layers[0].heads.head_dim, 128);
  EXPECT_EQ(read(small_config("qwen3", R"({"head_dim":32})"))->layers[0].heads.head_dim, 32);
  EXPECT_EQ(read(small_config("qwen2", "{}"))->layers[0].heads.head_dim, 16);
}

TEST(Families, TheTextModelOfAMultimodalMistralIsRead) {
  Json config = {{"model_type", "mistral3"},
                 {"text_config", *parse_json(small_config("mistral", R"({"head_dim":32})"))}};
  const auto spec = read(dump_json(config));
  ASSERT_TRUE(spec.has_value()) << spec.error().message();
  EXPECT_EQ(spec->architecture, "mistral");
  EXPECT_EQ(spec->layers[0].heads.head_dim, 32);
  config["text_config"]["model_type"] = "ministral9";
  EXPECT_NE(read(dump_json(config)).error().message().find("\"ministral9\""), std::string::npos);
}

TEST(Families, QueriesOfMinistral3GrowWithTheirPosition) {
  Json config = {
      {"model_type", "mistral3"},
      {"text_config",
       *parse_json(small_config(
           "ministral3", R"({"head_dim":32,"rope_parameters":{"rope_type":"yarn","rope_theta":1000000.0,"factor":16.0,
           "original_max_position_embeddings":16384,"mscale":1.0,"mscale_all_dim":1.0,"llama_4_scaling_beta":0.1}})"))}};
  const auto spec = read(dump_json(config));
  ASSERT_TRUE(spec.has_value()) << spec.error().message();
  EXPECT_EQ(spec->architecture, "ministral3");
  ASSERT_EQ(spec->ropes.size(), 2U);
  const RopeSpec &keys = spec->ropes[spec->layers[3].rope], &queries = spec->ropes[spec->layers[3].query_rope];
  EXPECT_EQ(keys.growth, 0.0f);
  EXPECT_FLOAT_EQ(queries.growth, 0.1f);
  EXPECT_EQ(queries.growth_context, 16384.0f);
  EXPECT_EQ(queries.frequencies, keys.frequencies);
  EXPECT_FLOAT_EQ(queries.magnitude, 1.0f);

  Json& rope = config["text_config"]["rope_parameters"];
  rope["llama_4_scaling_beta"] = -1.0;
  EXPECT_NE(read(dump_json(config)).error().message().find("llama_4_scaling_beta"), std::string::npos);
  rope["llama_4_scaling_beta"] = 0.0;
  EXPECT_EQ(read(dump_json(config))->layers[0].query_rope, -1);
  config["text_config"].erase("rope_parameters");
  const auto usual = read(dump_json(config));
  ASSERT_TRUE(usual.has_value()) << usual.error().message();
  EXPECT_EQ(usual->ropes, spec->ropes) << "as all published ones have it";
}

TEST(Families, YarnSlowsTheFrequenciesThatTurnSeldom) {
  const auto spec = [](const std::string& more) {
    return *read(small_config(
        "qwen2", R"({"rope_scaling":{"rope_type":"yarn","factor":4.0,"original_max_position_embeddings":32768)" + more +
                     "},\"rope_theta\":1000000.0,\"head_dim\":128}"));
  };
  const RopeSpec yarn = spec("").ropes[0];
  const auto plain = [](int pair) { return std::pow(1e6, -2.0 * pair / 128); };
  // 32 turns are made by pair 23.6, one turn by pair 39.7: the ramp goes from 23 to 40.
  EXPECT_FLOAT_EQ(yarn.frequencies[23], static_cast<float>(plain(23)));
  EXPECT_NEAR(yarn.frequencies[24] / plain(24), 1.0 - 0.75 / 17, 1e-5);
  EXPECT_FLOAT_EQ(yarn.frequencies[40], static_cast<float>(plain(40) / 4));
  EXPECT_FLOAT_EQ(yarn.magnitude, 1.0f + 0.1f * std::log(4.0f));
  EXPECT_FLOAT_EQ(spec(R"(,"mscale":1.0,"mscale_all_dim":1.0)").ropes[0].magnitude, 1.0f);
  EXPECT_FLOAT_EQ(spec(R"(,"attention_factor":1.5)").ropes[0].magnitude, 1.5f);
  for (const char* wrong : {R"("factor":0)", R"("factor":4,"beta_fast":0.5)", R"("factor":4,"attention_factor":-1)"}) {
    const auto refused =
        read(small_config("qwen3", std::string(R"({"rope_scaling":{"rope_type":"yarn",)") + wrong + "}}"));
    ASSERT_FALSE(refused.has_value()) << wrong;
    EXPECT_EQ(refused.error().code(), Code::kInvalidArgument);
  }
}

TEST(Families, SmolLm3RotatesNothingInEveryFourthLayerOrWhereItsListSays) {
  const auto by_interval = read(small_config("smollm3", "{}"));
  EXPECT_EQ(by_interval->layers[2].rope, 0);
  EXPECT_EQ(by_interval->layers[3].rope, -1);
  const auto by_list = read(small_config("smollm3", R"({"no_rope_layers":[0,1,1,1]})"));
  EXPECT_EQ(by_list->layers[0].rope, -1);
  EXPECT_EQ(by_list->layers[3].rope, 0);
  EXPECT_FALSE(read(small_config("smollm3", R"({"no_rope_layers":[0,1]})")).has_value());
}

TEST(Families, RefuseFilesThatContradictThemselves) {
  struct Contradiction {
    const char* family;
    const char* changes;
    std::vector<const char*> named;
  };
  for (const Contradiction& wrong : std::initializer_list<Contradiction>{
           {"qwen2",
            R"({"layer_types":["sliding_attention","full_attention","full_attention","full_attention"]})",
            {"use_sliding_window", "layer_types"}},
           {"qwen2",
            R"({"num_attention_heads":6,"num_key_value_heads":2})",
            {"hidden_size 64", "num_attention_heads 6"}},
           {"qwen3", R"({"num_key_value_heads":3})", {"4 attention heads", "3 key/value heads"}},
           {"qwen3", R"({"layer_types":["full_attention"]})", {"1 layers", "has 4"}}}) {
    const auto spec = read(small_config(wrong.family, wrong.changes));
    ASSERT_FALSE(spec.has_value()) << wrong.changes;
    EXPECT_EQ(spec.error().code(), Code::kInvalidArgument);
    for (const char* part : wrong.named) {
      EXPECT_NE(spec.error().message().find(part), std::string::npos) << spec.error().message();
    }
  }
}

Error open_error(const std::string& config, const std::vector<ToyTensor>& tensors) {
  const TempFolder folder;
  folder.write("config.json", config);
  folder.write("model.safetensors", safetensors_bytes(tensors));
  const auto checkpoint = Checkpoint::open(folder.path());
  EXPECT_TRUE(checkpoint.has_value()) << checkpoint.error().message();
  const std::uint64_t before = (*checkpoint)->bytes_read();
  const auto spec = read_decoder_spec(**checkpoint);
  EXPECT_EQ((*checkpoint)->bytes_read(), before) << "no byte of a weight is read";
  return spec ? Error(Code::kOk, "accepted") : spec.error();
}

TEST(Families, AnUnknownOneIsRefusedByNameWithTheKnownOnes) {
  // Its tensors have other names than ours: the name must be judged first.
  const std::vector<ToyTensor> tensors = {float_tensor("backbone.embedding.weight", {2, 2}, {1, 2, 3, 4})};
  const Error error = open_error(R"({"model_type":"mamba2"})", tensors);
  EXPECT_EQ(error.code(), Code::kUnimplemented);
  for (const char* part : {"\"mamba2\"", "gemma3", "llama", "mistral", "qwen2", "qwen3"}) {
    EXPECT_NE(error.message().find(part), std::string::npos) << error.message();
  }
  const TempFolder folder;
  GgufWriter writer;
  writer.text("general.architecture", "rwkv7");
  writer.tensor(float_tensor("rope_freqs.weight", {2}, {1, 2}));
  const auto checkpoint = Checkpoint::open(folder.write("model.gguf", writer.bytes()));
  ASSERT_TRUE(checkpoint.has_value()) << checkpoint.error().message();
  const auto spec = read_decoder_spec(**checkpoint);
  ASSERT_FALSE(spec.has_value());
  EXPECT_NE(spec.error().message().find("\"rwkv7\" is not supported; supported: "), std::string::npos);
}

TEST(Families, EveryNameInTheListOfSupportedOnesIsRead) {
  std::string list = supported_architectures() + ", ";
  for (std::size_t end = list.find(", "); end != std::string::npos; end = list.find(", ")) {
    const std::string name = list.substr(0, end);
    list.erase(0, end + 2);
    Json config = *parse_json(small_config(name, "{}"));
    Json text = config;
    text.erase("model_type");
    config["text_config"] = text;
    EXPECT_TRUE(read(dump_json(config)).has_value()) << name;
  }
}

/// The tensors of a toy Llama, with more of them.
Error with_surplus(const std::vector<std::string>& names, bool tied = true) {
  const ToyModel model{.n_layers = 1, .tied_head = tied};
  const TempFolder folder;
  folder.write("model.safetensors", toy_safetensors(model));
  folder.write("config.json", toy_config(model));
  auto checkpoint = Checkpoint::open(folder.path());
  EXPECT_TRUE(checkpoint.has_value());
  std::vector<ToyTensor> tensors;
  for (const TensorInfo& tensor : (*checkpoint)->tensors()) {
    const auto range = (*checkpoint)->load(tensor);
    const auto* bytes = reinterpret_cast<const char*>(range->bytes.data());
    tensors.push_back({tensor.name, tensor.dtype, tensor.shape, std::string(bytes, range->bytes.size())});
  }
  for (const std::string& name : names) tensors.push_back(float_tensor(name, {2}, {1, 2}));
  return open_error(toy_config(model), tensors);
}

TEST(Families, TensorsThatTheSpecHasNoUseForAreRefusedByName) {
  const Error bias = with_surplus({"model.layers.0.self_attn.q_proj.bias"});
  EXPECT_EQ(bias.code(), Code::kUnimplemented);
  EXPECT_NE(bias.message().find("model.layers.0.self_attn.q_proj.bias"), std::string::npos) << bias.message();
  EXPECT_EQ(with_surplus({"model.layers.1.input_layernorm.weight"}).code(), Code::kUnimplemented) << "one layer more";
  EXPECT_EQ(with_surplus({"model.norm.bias"}).code(), Code::kUnimplemented);
  EXPECT_EQ(with_surplus({"lm_head.bias"}).code(), Code::kUnimplemented);
  std::vector<std::string> many;
  for (int i = 0; i < 7; ++i) many.push_back("model.layers.0.extra" + std::to_string(i) + ".weight");
  const std::string message = with_surplus(many).message();
  EXPECT_NE(message.find("7 tensors: \"model.layers.0.extra0.weight\", "), std::string::npos) << message;
  EXPECT_NE(message.find("extra4.weight\", ..."), std::string::npos) << message;
  EXPECT_EQ(message.find("extra5"), std::string::npos) << message;
}

TEST(Families, TensorsThatChangeNothingMayBeThere) {
  for (const char* name : {"model.layers.0.self_attn.rotary_emb.inv_freq", "lm_head.weight",
                           "vision_tower.patch.weight", "multi_modal_projector.norm.weight"}) {
    EXPECT_EQ(with_surplus({name}).code(), Code::kOk) << with_surplus({name}).message();
  }
}

TEST(Families, GgufSaysByItsTensorsWhetherThereAreBiases) {
  const auto spec = [](const std::string& architecture, bool has_bias) {
    Metadata metadata = small_gguf_header(architecture);
    metadata.set(architecture + ".attention.sliding_window", std::int64_t{32});
    return *spec_from_gguf(metadata, {.n_vocab = 9, .has_qkv_bias = has_bias, .rope_divisors = {}});
  };
  EXPECT_FALSE(spec("llama", false).layers[0].qkv_bias);
  EXPECT_TRUE(spec("llama", true).layers[0].qkv_bias);
  EXPECT_TRUE(spec("qwen2", false).layers[0].qkv_bias) << "then its absence is named";
  EXPECT_FALSE(spec("qwen3", false).layers[0].qkv_bias);
  EXPECT_TRUE(spec("llama", false).ropes[0].interleaved);
  EXPECT_FALSE(spec("qwen2", false).ropes[0].interleaved);
  EXPECT_EQ(spec("llama", false).layers[1].window, 32);
  EXPECT_EQ(spec("qwen3", false).layers[1].window, 0) << "the file's window is not the model's";
}

}  // namespace
}  // namespace commissure::testing
