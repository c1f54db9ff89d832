#include "model/decoder_spec.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "model/rope.h"
#include "model/tensor_names.h"
#include "support/checkpoint_writer.h"
#include "support/small_config.h"
#include "support/temp_folder.h"
#include "support/toy_model.h"

namespace commissure::testing {
namespace {

DecoderSpec config_spec(const std::string& text, DType dtype = DType::kBF16) {
  const auto config = parse_json(text);
  EXPECT_TRUE(config.has_value()) << text;
  const auto spec = spec_from_config(*config, dtype);
  EXPECT_TRUE(spec.has_value()) << (spec ? "" : spec.error().message());
  return *spec;
}

Error refusal(const std::string& text) {
  const auto spec = spec_from_config(*parse_json(text), DType::kBF16);
  return spec ? Error(Code::kOk, "accepted") : spec.error();
}

int n_full_layers(const DecoderSpec& spec) {
  int n = 0;
  for (const LayerSpec& layer : spec.layers) n += layer.window == 0;
  return n;
}

struct Gemma {
  const char* name;
  std::string config;
  std::int64_t parameters;
  int full_layers;
  int window;
  double attention_scale;
  double global_slowdown;
};

/// Published configurations in the forms they were saved in: text only, early multimodal, and with the newer rope keys.
std::vector<Gemma> gemma_sizes() {
  const std::string newer =
      R"("rope_parameters":{"full_attention":{"rope_type":"linear","factor":8.0,"rope_theta":1000000},
    "sliding_attention":{"rope_type":"default","rope_theta":10000}})";
  return {
      {"270M", R"({"model_type":"gemma3_text","num_hidden_layers":18,"hidden_size":640,"intermediate_size":2048,
        "num_attention_heads":4,"num_key_value_heads":1,"head_dim":256,"sliding_window":512,"vocab_size":262144,
        "max_position_embeddings":32768,"rope_theta":1000000.0,"rope_local_base_freq":10000.0,"rope_scaling":null,
        "query_pre_attn_scalar":256,"_sliding_window_pattern":6,"attn_logit_softcapping":null})",
       268098176, 3, 512, 1.0 / 16, 1.0},
      {"1B", R"({"model_type":"gemma3_text","num_hidden_layers":26,"hidden_size":1152,"intermediate_size":6912,
        "num_attention_heads":4,"num_key_value_heads":1,"head_dim":256,"sliding_window":512,"vocab_size":262144,
        "max_position_embeddings":32768})",
       999885952, 4, 512, 1.0 / 16, 1.0},
      {"4B", R"({"model_type":"gemma3","text_config":{"model_type":"gemma3_text","hidden_size":2560,
        "intermediate_size":10240,"num_hidden_layers":34,"rope_scaling":{"factor":8.0,"rope_type":"linear"},
        "sliding_window":1024}})",
       3880263168, 5, 1024, 1.0 / 16, 8.0},
      {"12B",
       R"({"model_type":"gemma3","text_config":{"hidden_size":3840,"intermediate_size":15360,
        "num_hidden_layers":48,"num_attention_heads":16,"num_key_value_heads":8,"sliding_window":1024,)" +
           newer + "}}",
       11766034176, 8, 1024, 1.0 / 16, 8.0},
      {"27B", R"({"model_type":"gemma3","text_config":{"hidden_size":5376,"intermediate_size":21504,
        "num_hidden_layers":62,"num_attention_heads":32,"num_key_value_heads":16,"head_dim":128,
        "query_pre_attn_scalar":168,"rope_scaling":{"factor":8.0,"rope_type":"linear"},"sliding_window":1024}})",
       27009346304, 10, 1024, 1.0 / std::sqrt(168.0), 8.0},
  };
}

TEST(DecoderSpec, ReadsEveryGemma3Size) {
  for (const Gemma& gemma : gemma_sizes()) {
    SCOPED_TRACE(gemma.name);
    const DecoderSpec spec = config_spec(gemma.config);
    EXPECT_EQ(count_parameters(spec).all, gemma.parameters);
    EXPECT_EQ(n_full_layers(spec), gemma.full_layers);
    EXPECT_EQ(spec.layers[0].window, gemma.window);
    EXPECT_EQ(spec.layers[5].window, 0);
    EXPECT_FLOAT_EQ(spec.layers[0].attention_scale, static_cast<float>(gemma.attention_scale));
    EXPECT_EQ(spec.norm_offset, 1.0f);
    EXPECT_TRUE(spec.tied_head && spec.layers[0].qk_norm && spec.layers[0].post_norms);
    const int head_dim = spec.layers[0].heads.head_dim;
    const auto second = [&](double theta) { return std::pow(theta, -2.0 / head_dim); };
    EXPECT_NEAR(spec.ropes[0].frequencies[1], second(1e6) / gemma.global_slowdown, 1e-6);
    EXPECT_NEAR(spec.ropes[1].frequencies[1], second(1e4), 1e-6) << "local layers ignore the scaling";
  }
}

TEST(DecoderSpec, RoundsTheEmbeddingScaleAsTheWeightsAre) {
  const std::string config = gemma_sizes()[2].config;
  EXPECT_EQ(config_spec(config, DType::kBF16).embedding_scale, 50.5f);
  EXPECT_FLOAT_EQ(config_spec(config, DType::kF32).embedding_scale, std::sqrt(2560.0f));
}

TEST(DecoderSpec, ReadsLlamaAndSmolLM) {
  const DecoderSpec llama = config_spec(R"({"model_type":"llama","num_hidden_layers":16,"hidden_size":2048,
    "intermediate_size":8192,"num_attention_heads":32,"num_key_value_heads":8,"head_dim":64,"vocab_size":128256,
    "max_position_embeddings":131072,"rms_norm_eps":1e-05,"rope_theta":500000.0,"tie_word_embeddings":true,
    "hidden_act":"silu","rope_scaling":{"factor":32.0,"high_freq_factor":4.0,"low_freq_factor":1.0,
    "original_max_position_embeddings":8192,"rope_type":"llama3"}})");
  EXPECT_EQ(count_parameters(llama).all, 1235814400);
  EXPECT_FLOAT_EQ(llama.ropes[0].frequencies[0], 1.0f) << "short waves stay";
  EXPECT_NEAR(llama.ropes[0].frequencies[31] * 32.0, std::pow(500000.0, -62.0 / 64), 1e-9) << "long waves slow down";
  EXPECT_FALSE(llama.ropes[0].interleaved);
  EXPECT_FLOAT_EQ(llama.layers[0].attention_scale, 0.125f);

  const DecoderSpec smol = config_spec(R"({"model_type":"llama","num_hidden_layers":30,"hidden_size":576,
    "intermediate_size":1536,"num_attention_heads":9,"num_key_value_heads":3,"vocab_size":49152,
    "max_position_embeddings":8192,"rms_norm_eps":1e-05,"tie_word_embeddings":true,
    "rope_parameters":{"rope_type":"default","rope_theta":100000}})");
  EXPECT_EQ(count_parameters(smol).all, 134515008);
  EXPECT_EQ(smol.layers[0].heads.head_dim, 64);
  EXPECT_NEAR(smol.ropes[0].frequencies[1], std::pow(100000.0, -2.0 / 64), 1e-6);
}

TEST(DecoderSpec, ReadsMistralWithAndWithoutAWindow) {
  const std::string common = R"("model_type":"mistral","num_hidden_layers":32,"hidden_size":4096,
    "intermediate_size":14336,"num_attention_heads":32,"num_key_value_heads":8,"vocab_size":32768,"rope_theta":1e6)";
  const DecoderSpec v3 = config_spec("{" + common + R"(,"sliding_window":null})");
  EXPECT_EQ(count_parameters(v3).all, 7248023552);
  EXPECT_EQ(v3.layers[31].window, 0);
  EXPECT_FALSE(v3.tied_head);
  EXPECT_EQ(config_spec("{" + common + R"(,"sliding_window":4096})").layers[31].window, 4096);
  EXPECT_EQ(config_spec("{" + common + "}").layers[0].window, 4096) << "the family's default";
  EXPECT_EQ(count_parameters(config_spec(R"({"model_type":"mistral","num_hidden_layers":40,"hidden_size":5120,
    "intermediate_size":14336,"num_attention_heads":32,"num_key_value_heads":8,"head_dim":128,"vocab_size":131072,
    "sliding_window":null})"))
                .all,
            12247782400)
      << "heads times head_dim is not the model width";
}

TEST(DecoderSpec, ListsWhatIsSupportedWhenAFamilyIsNot) {
  const Error error = refusal(R"({"model_type":"mamba"})");
  EXPECT_EQ(error.code(), Code::kUnimplemented);
  EXPECT_NE(error.message().find(supported_architectures()), std::string::npos) << error.message();
}

TEST(DecoderSpec, RefusesAbsurdConfigurations) {
  const auto llama = [](const std::string& change) {
    Json config = *parse_json(R"({"model_type":"llama","num_hidden_layers":2,"hidden_size":64,"intermediate_size":96,
      "num_attention_heads":4,"num_key_value_heads":2,"vocab_size":100})");
    const Json changes = *parse_json(change);  // named: the loop must not outlive it
    for (const auto& [key, value] : changes.items()) config[key] = value;
    return refusal(dump_json(config));
  };
  EXPECT_EQ(llama("{}").code(), Code::kOk);
  for (const char* change :
       {R"({"num_hidden_layers":0})",
        R"({"num_hidden_layers":-1})",
        R"({"num_hidden_layers":2000000000})",
        R"({"num_hidden_layers":18446744073709551615})",
        R"({"hidden_size":"64"})",
        R"({"hidden_size":1e300})",
        R"({"hidden_size":null})",
        R"({"num_attention_heads":0})",
        R"({"num_key_value_heads":0})",
        R"({"num_key_value_heads":3})",
        R"({"hidden_size":66})",
        R"({"num_key_value_heads":8})",
        R"({"head_dim":15})",
        R"({"head_dim":1000000})",
        R"({"vocab_size":0})",
        R"({"rms_norm_eps":-1})",
        R"({"rope_theta":0})",
        R"({"rope_scaling":{"rope_type":"linear","factor":0}})",
        R"({"rope_scaling":[]})",
        R"({"rope_scaling":{"rope_type":"llama3","high_freq_factor":1.0,"low_freq_factor":1.0}})"}) {
    EXPECT_EQ(llama(change).code(), Code::kInvalidArgument) << change;
  }
  for (const char* change :
       {R"({"is_causal":false})", R"({"mlp_bias":true})", R"({"hidden_act":"relu"})",
        R"({"rope_scaling":{"type":"longrope","factor":4}})", R"({"rope_scaling":{"rope_type":"dynamic"}})",
        R"({"use_bidirectional_attention":true})", R"({"partial_rotary_factor":0.5})",
        R"({"rope_parameters":{"rope_type":"default","partial_rotary_factor":0.5}})"}) {
    EXPECT_EQ(llama(change).code(), Code::kUnimplemented) << change;
  }
  EXPECT_EQ(refusal("[]").code(), Code::kInvalidArgument);
  EXPECT_EQ(refusal(R"({"model_type":"gemma3"})").code(), Code::kInvalidArgument);
  EXPECT_EQ(refusal(R"({"model_type":"gemma3_text","num_hidden_layers":2,"hidden_size":64,"intermediate_size":64,
    "layer_types":["full_attention"]})")
                .code(),
            Code::kInvalidArgument);
}

Metadata gguf_header(const char* architecture, std::int64_t n_layers) {
  Metadata metadata;
  const std::string prefix = std::string(architecture) + ".";
  metadata.set("general.architecture", std::string(architecture));
  metadata.set(prefix + "block_count", n_layers);
  metadata.set(prefix + "context_length", std::int64_t{4096});
  metadata.set(prefix + "embedding_length", std::int64_t{5376});
  metadata.set(prefix + "feed_forward_length", std::int64_t{64});
  metadata.set(prefix + "attention.head_count", std::int64_t{32});
  metadata.set(prefix + "attention.head_count_kv", std::int64_t{16});
  metadata.set(prefix + "attention.layer_norm_rms_epsilon", 1e-6);
  return metadata;
}

TEST(DecoderSpec, RefusesAGgufOfAnEncoder) {
  Metadata metadata = gguf_header("llama", 2);
  EXPECT_TRUE(spec_from_gguf(metadata, {.n_vocab = 9, .rope_divisors = {}}));
  metadata.set("llama.attention.causal", false);
  EXPECT_EQ(spec_from_gguf(metadata, {.n_vocab = 9, .rope_divisors = {}}).error().code(), Code::kUnimplemented);
}

TEST(DecoderSpec, NamesTheDtypeOfATensorThatCannotBeUsed) {
  const TempFolder folder;
  const auto open = [&](const char* embedding, const char* norm) {
    const auto tensor = [](const std::string& name, const std::string& dtype, int begin, int end) {
      return fmt::format(R"("{}":{{"dtype":"{}","shape":[1,{}],"data_offsets":[{},{}]}})", name, dtype,
                         (end - begin) / (dtype == "F64"    ? 8
                                          : dtype == "BF16" ? 2
                                                            : 1),
                         begin, end);
    };
    folder.write("model.safetensors",
                 safetensors_file("{" + tensor("model.embed_tokens.weight", embedding, 0, 64) + "," +
                                      tensor("model.layers.0.input_layernorm.weight", norm, 64, 128) + "}",
                                  std::string(128, '\0')));
    folder.write("config.json", R"({"model_type":"llama","num_hidden_layers":1,"hidden_size":32,"intermediate_size":32,
      "num_attention_heads":2,"vocab_size":1})");
    const auto checkpoint = Checkpoint::open(folder.path());
    EXPECT_TRUE(checkpoint) << checkpoint.error().message();
    return read_decoder_spec(**checkpoint).error().message();
  };
  EXPECT_NE(open("F64", "BF16").find("model.embed_tokens.weight has dtype F64"), std::string::npos);
  EXPECT_NE(open("BF16", "F8_E4M3").find("has dtype F8_E4M3, which is not supported; supported: F32"),
            std::string::npos)
      << open("BF16", "F8_E4M3");
}

TEST(DecoderSpec, KnowsWhatGemmaFilesLeaveOut) {
  Metadata metadata = gguf_header("gemma3", 62);
  metadata.set("gemma3.attention.key_length", std::int64_t{128});
  metadata.set("gemma3.attention.value_length", std::int64_t{128});
  metadata.set("gemma3.attention.sliding_window", std::int64_t{1024});
  const DecoderSpec spec = *spec_from_gguf(metadata, {.n_vocab = 100, .has_head = false, .rope_divisors = {}});
  EXPECT_FLOAT_EQ(spec.layers[0].attention_scale, 1.0f / std::sqrt(168.0f));
  EXPECT_FLOAT_EQ(spec.ropes[0].frequencies[0], 1.0f / 8) << "no rope keys at all mean the large models' scaling";
  EXPECT_EQ(spec.norm_offset, 0.0f);
  EXPECT_EQ(n_full_layers(spec), 10);
  metadata.set("gemma3.rope.freq_base", 1e6);
  EXPECT_FLOAT_EQ(spec_from_gguf(metadata, {.n_vocab = 9, .rope_divisors = {}})->ropes[0].frequencies[0], 1.0f);
  metadata.set("gemma3.rope.scaling.type", std::string("linear"));
  metadata.set("gemma3.rope.scaling.factor", 4.0);
  EXPECT_FLOAT_EQ(spec_from_gguf(metadata, {.n_vocab = 9, .rope_divisors = {}})->ropes[0].frequencies[0], 0.25f);
}

TEST(DecoderSpec, AppliesTheRopeDivisorsOfAFile) {
  Metadata metadata = gguf_header("llama", 2);
  std::vector<float> divisors(84, 1.0f);
  divisors[83] = 8.0f;
  const auto plain = spec_from_gguf(metadata, {.n_vocab = 9, .rope_divisors = {}});
  const auto divided = spec_from_gguf(metadata, {.n_vocab = 9, .rope_divisors = divisors});
  ASSERT_TRUE(plain && divided);
  EXPECT_TRUE(plain->ropes[0].interleaved);
  EXPECT_FLOAT_EQ(divided->ropes[0].frequencies[83] * 8, plain->ropes[0].frequencies[83]);
  divisors[0] = 0.0f;
  EXPECT_EQ(spec_from_gguf(metadata, {.n_vocab = 9, .rope_divisors = divisors}).error().code(), Code::kInvalidArgument);
  divisors.pop_back();
  EXPECT_EQ(spec_from_gguf(metadata, {.n_vocab = 9, .rope_divisors = divisors}).error().code(), Code::kInvalidArgument);
}

TEST(DecoderSpec, RefusesGgufFeaturesItLacks) {
  for (const char* key : {"llama.expert_count", "llama.rope.dimension_count"}) {
    Metadata metadata = gguf_header("llama", 2);
    metadata.set(key, std::int64_t{8});
    EXPECT_EQ(spec_from_gguf(metadata, {.n_vocab = 9, .rope_divisors = {}}).error().code(), Code::kUnimplemented);
  }
  EXPECT_EQ(spec_from_gguf(gguf_header("mamba", 2), {.n_vocab = 9, .rope_divisors = {}}).error().code(),
            Code::kUnimplemented);
  EXPECT_EQ(spec_from_gguf(Metadata{}, {}).error().code(), Code::kInvalidArgument);
}

TEST(DecoderSpec, NamesATensorOfAnotherShape) {
  TempFolder folder;
  folder.write("config.json", toy_config({.d_ff = 128}));
  folder.write("model.safetensors", toy_safetensors({.d_ff = 96}));
  const auto checkpoint = Checkpoint::open(folder.path());
  ASSERT_TRUE(checkpoint.has_value()) << checkpoint.error().message();
  const auto spec = read_decoder_spec(**checkpoint);
  ASSERT_FALSE(spec.has_value());
  EXPECT_EQ(spec.error().code(), Code::kInvalidArgument);
  for (const char* part : {"model.layers.0.mlp.gate_proj.weight", "[96, 64]", "[128, 64]"}) {
    EXPECT_NE(spec.error().message().find(part), std::string::npos) << spec.error().message();
  }
}

TEST(DecoderSpec, NamesAMissingTensor) {
  TempFolder folder;
  folder.write("config.json", toy_config({.n_layers = 3}));
  folder.write("model.safetensors", toy_safetensors({.n_layers = 2}));
  const auto spec = read_decoder_spec(**Checkpoint::open(folder.path()));
  ASSERT_FALSE(spec.has_value());
  EXPECT_NE(spec.error().message().find("model.layers.2.input_layernorm.weight"), std::string::npos);
}

/// The spec of a real model. Errors: kNotFound, this machine has none; others, it cannot be read.
Result<DecoderSpec> real_spec(const char* file) {
  const char* folder = std::getenv("COMMISSURE_TEST_MODELS");
  const std::string path = folder == nullptr ? "" : std::string(folder) + "/" + file;
  if (!std::filesystem::exists(path)) {
    return Error(Code::kNotFound, "set COMMISSURE_TEST_MODELS to a folder with ", file);
  }
  return read_decoder_spec(*TRY(Checkpoint::open(path)));
}

TEST(DecoderSpec, ReadsSmolLm2) {
  const auto smol = real_spec("SmolLM2-135M-Instruct.Q4_1.gguf");
  if (!smol && smol.error().code() == Code::kNotFound) GTEST_SKIP() << smol.error().message();
  ASSERT_TRUE(smol.has_value()) << smol.error().message();
  EXPECT_EQ(count_parameters(*smol).all, 134515008);
  EXPECT_TRUE(smol->tied_head);
}

TEST(DecoderSpec, ReadsGemma3) {
  const auto gemma = real_spec("gemma-3-270m-q4_k_m.gguf");
  if (!gemma && gemma.error().code() == Code::kNotFound) GTEST_SKIP() << gemma.error().message();
  ASSERT_TRUE(gemma.has_value()) << gemma.error().message();
  EXPECT_EQ(count_parameters(*gemma).all, 268098176);
  EXPECT_EQ(n_full_layers(*gemma), 3);
  EXPECT_FLOAT_EQ(gemma->embedding_scale, std::sqrt(640.0f));
}

}  // namespace
}  // namespace commissure::testing
