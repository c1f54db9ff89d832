#include "synth/shapes.h"

#include <algorithm>
#include <cctype>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/check.h"
#include "core/spelling.h"
#include "weights/header_reader.h"

namespace commissure {
namespace {

// What the members of a family share of their config.json.
constexpr std::string_view kLlama31 = R"({"rope_theta":500000.0,"max_position_embeddings":131072,"rms_norm_eps":1e-5,
  "rope_scaling":{"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,
  "original_max_position_embeddings":8192}})";
constexpr std::string_view kLlama32 = R"({"rope_theta":500000.0,"max_position_embeddings":131072,"rms_norm_eps":1e-5,
  "rope_scaling":{"rope_type":"llama3","factor":32.0,"low_freq_factor":1.0,"high_freq_factor":4.0,
  "original_max_position_embeddings":8192}})";
constexpr std::string_view kSmolLm2 = R"({"rope_theta":100000.0,"max_position_embeddings":8192,"rms_norm_eps":1e-5})";
constexpr std::string_view kSmolLm3 =
    R"({"rope_theta":5000000.0,"max_position_embeddings":65536,"no_rope_layer_interval":4})";
constexpr std::string_view kQwen25 = R"({"rope_theta":1000000.0,"max_position_embeddings":32768})";
constexpr std::string_view kQwen3 = R"({"rope_theta":1000000.0,"max_position_embeddings":40960})";
constexpr std::string_view kMistral =
    R"({"rope_theta":1000000.0,"max_position_embeddings":32768,"rms_norm_eps":1e-5,"sliding_window":null})";
constexpr std::string_view kNemo =
    R"({"rope_theta":1000000.0,"max_position_embeddings":131072,"rms_norm_eps":1e-5,"sliding_window":null})";
constexpr std::string_view kMistralSmall =
    R"({"rope_theta":100000000.0,"max_position_embeddings":32768,"rms_norm_eps":1e-5,"sliding_window":null})";
constexpr std::string_view kMinistral3 = R"({"rope_theta":1000000.0,"max_position_embeddings":262144,
  "rms_norm_eps":1e-5,"sliding_window":null,"rope_scaling":{"rope_type":"yarn","factor":16.0,"beta_fast":32.0,
  "beta_slow":1.0,"mscale":1.0,"mscale_all_dim":1.0,"original_max_position_embeddings":16384,
  "llama_4_scaling_beta":0.1}})";
constexpr std::string_view kGranite = R"({"rope_theta":5000000.0,"max_position_embeddings":131072,"rms_norm_eps":1e-5,
  "embedding_multiplier":12.0,"residual_multiplier":0.22,"attention_multiplier":0.015625,"logits_scaling":8.0})";
constexpr std::string_view kOlmo2 = R"({"rope_theta":500000.0,"max_position_embeddings":4096,"rms_norm_eps":1e-6})";
constexpr std::string_view kPhi3 = R"({"max_position_embeddings":4096,"rms_norm_eps":1e-5,"sliding_window":2047})";
constexpr std::string_view kPhi4 = R"({"rope_theta":250000.0,"max_position_embeddings":16384,"rms_norm_eps":1e-5})";
// As far as its short rotation serves: published with 131072 positions, by lists of factors that are not known here.
constexpr std::string_view kPhi4Mini =
    R"({"partial_rotary_factor":0.75,"max_position_embeddings":4096,"rms_norm_eps":1e-5})";
constexpr std::string_view kGemma2 = R"({"sliding_window":4096,"max_position_embeddings":8192})";
constexpr std::string_view kGemma2With27B =
    R"({"sliding_window":4096,"max_position_embeddings":8192,"query_pre_attn_scalar":144})";
constexpr std::string_view kGemma3Small = R"({"sliding_window":512,"max_position_embeddings":32768})";
constexpr std::string_view kGemma3 = R"({"sliding_window":1024,"max_position_embeddings":131072,
  "rope_scaling":{"rope_type":"linear","factor":8.0}})";
constexpr std::string_view kGemma3With27B = R"({"sliding_window":1024,"max_position_embeddings":131072,
  "rope_scaling":{"rope_type":"linear","factor":8.0},"query_pre_attn_scalar":168})";
constexpr std::string_view kQwen15Moe = R"({"rope_theta":1000000.0,"max_position_embeddings":8192,"num_experts":60,
  "num_experts_per_tok":4,"moe_intermediate_size":1408,"shared_expert_intermediate_size":5632})";
constexpr std::string_view kQwen2Moe = R"({"rope_theta":1000000.0,"max_position_embeddings":32768,"num_experts":64,
  "num_experts_per_tok":8,"moe_intermediate_size":2560,"shared_expert_intermediate_size":20480})";
constexpr std::string_view kQwen3With30B = R"({"rope_theta":1000000.0,"max_position_embeddings":40960,
  "num_experts":128,"num_experts_per_tok":8,"moe_intermediate_size":768,"norm_topk_prob":true})";
constexpr std::string_view kQwen3With235B = R"({"rope_theta":1000000.0,"max_position_embeddings":40960,
  "num_experts":128,"num_experts_per_tok":8,"moe_intermediate_size":1536,"norm_topk_prob":true})";
// Of Gemma 4 the text model, as it is saved alone.
constexpr std::string_view kGemma4E2B = R"({"global_head_dim":512,"sliding_window":512,"num_kv_shared_layers":20,
  "use_double_wide_mlp":true,"hidden_size_per_layer_input":256,"final_logit_softcapping":30.0,
  "max_position_embeddings":131072})";
constexpr std::string_view kGemma4E4B = R"({"global_head_dim":512,"sliding_window":512,"num_kv_shared_layers":18,
  "hidden_size_per_layer_input":256,"final_logit_softcapping":30.0,"max_position_embeddings":131072})";
constexpr std::string_view kGemma4With12B = R"({"global_head_dim":512,"num_global_key_value_heads":1,
  "attention_k_eq_v":true,"sliding_window":1024,"hidden_size_per_layer_input":0,"final_logit_softcapping":30.0,
  "max_position_embeddings":262144})";
constexpr std::string_view kGemma4With26B = R"({"global_head_dim":512,"num_global_key_value_heads":2,
  "attention_k_eq_v":true,"sliding_window":1024,"hidden_size_per_layer_input":0,"final_logit_softcapping":30.0,
  "max_position_embeddings":262144,"enable_moe_block":true,"num_experts":128,"top_k_experts":8,
  "moe_intermediate_size":704})";
constexpr std::string_view kGemma4With31B = R"({"global_head_dim":512,"num_global_key_value_heads":4,
  "attention_k_eq_v":true,"sliding_window":1024,"hidden_size_per_layer_input":0,"final_logit_softcapping":30.0,
  "max_position_embeddings":262144})";
constexpr std::string_view kGptOss20B = R"({"num_local_experts":32,"num_experts_per_tok":4,"sliding_window":128,
  "rope_theta":150000.0,"rope_scaling":{"rope_type":"yarn","factor":32.0,"beta_fast":32.0,"beta_slow":1.0,
  "original_max_position_embeddings":4096,"truncate":false},"max_position_embeddings":131072,"rms_norm_eps":1e-5})";
constexpr std::string_view kGptOss120B = R"({"num_local_experts":128,"num_experts_per_tok":4,"sliding_window":128,
  "rope_theta":150000.0,"rope_scaling":{"rope_type":"yarn","factor":32.0,"beta_fast":32.0,"beta_slow":1.0,
  "original_max_position_embeddings":4096,"truncate":false},"max_position_embeddings":131072,"rms_norm_eps":1e-5})";

// name, family, layers, width, heads, key/value heads, head_dim, feed-forward, vocabulary, tied, parameters, active,
// more
constexpr Shape kShapes[] = {
    {"tiny", "llama", 4, 64, 4, 2, 16, 128, 512, true, 180800, 0, kSmolLm2},  // not published: under 1 MB
    {"smollm2-135m", "llama", 30, 576, 9, 3, 64, 1536, 49152, true, 134515008, 0, kSmolLm2},
    {"llama-3.2-1b", "llama", 16, 2048, 32, 8, 64, 8192, 128256, true, 1235814400, 0, kLlama32},
    {"llama-3.2-3b", "llama", 28, 3072, 24, 8, 128, 8192, 128256, true, 3212749824, 0, kLlama32},
    {"llama-3.1-8b", "llama", 32, 4096, 32, 8, 128, 14336, 128256, false, 8030261248, 0, kLlama31},
    {"llama-3.3-70b", "llama", 80, 8192, 64, 8, 128, 28672, 128256, false, 70553706496, 0, kLlama31},
    {"llama-3.1-405b", "llama", 126, 16384, 128, 8, 128, 53248, 128256, false, 405853388800, 0, kLlama31},
    {"smollm3-3b", "smollm3", 36, 2048, 16, 4, 128, 11008, 128256, true, 3075098624, 0, kSmolLm3},
    {"gemma-2-2b", "gemma2", 26, 2304, 8, 4, 256, 9216, 256000, true, 2614341888, 0, kGemma2},
    {"gemma-2-9b", "gemma2", 42, 3584, 16, 8, 256, 14336, 256000, true, 9241705984, 0, kGemma2},
    {"gemma-2-27b", "gemma2", 46, 4608, 32, 16, 128, 36864, 256000, true, 27227128320, 0, kGemma2With27B},
    {"gemma-3-270m", "gemma3_text", 18, 640, 4, 1, 256, 2048, 262144, true, 268098176, 0, kGemma3Small},
    {"gemma-3-1b", "gemma3_text", 26, 1152, 4, 1, 256, 6912, 262144, true, 999885952, 0, kGemma3Small},
    {"gemma-3-4b", "gemma3_text", 34, 2560, 8, 4, 256, 10240, 262208, true, 3880263168, 0, kGemma3},
    {"gemma-3-12b", "gemma3_text", 48, 3840, 16, 8, 256, 15360, 262208, true, 11766034176, 0, kGemma3},
    {"gemma-3-27b", "gemma3_text", 62, 5376, 32, 16, 128, 21504, 262208, true, 27009346304, 0, kGemma3With27B},
    {"gemma-4-e2b", "gemma4_text", 35, 1536, 8, 1, 256, 6144, 262144, true, 4628569379, 0, kGemma4E2B, 5},
    {"gemma-4-e4b", "gemma4_text", 42, 2560, 8, 2, 256, 10240, 262144, true, 7463013418, 0, kGemma4E4B, 6},
    {"gemma-4-12b", "gemma4_text", 48, 3840, 16, 8, 256, 15360, 262144, true, 11907350320, 0, kGemma4With12B, 6},
    {"gemma-4-26b-a4b", "gemma4_text", 30, 2816, 16, 8, 256, 2112, 262144, true, 25233141790, 3822530590,
     kGemma4With26B, 6},
    {"gemma-4-31b", "gemma4_text", 60, 5376, 32, 16, 256, 21504, 262144, true, 30697345340, 0, kGemma4With31B, 6},
    {"gpt-oss-20b", "gpt_oss", 24, 2880, 64, 8, 64, 2880, 201088, false, 20914757184, 4193246784, kGptOss20B, 2},
    {"gpt-oss-120b", "gpt_oss", 36, 2880, 64, 8, 64, 2880, 201088, false, 116829156672, 5750551872, kGptOss120B, 2},
    {"qwen2.5-0.5b", "qwen2", 24, 896, 14, 2, 64, 4864, 151936, true, 494032768, 0, kQwen25},
    {"qwen2.5-1.5b", "qwen2", 28, 1536, 12, 2, 128, 8960, 151936, true, 1543714304, 0, kQwen25},
    {"qwen2.5-3b", "qwen2", 36, 2048, 16, 2, 128, 11008, 151936, true, 3085938688, 0, kQwen25},
    {"qwen2.5-7b", "qwen2", 28, 3584, 28, 4, 128, 18944, 152064, false, 7615616512, 0, kQwen25},
    {"qwen2.5-14b", "qwen2", 48, 5120, 40, 8, 128, 13824, 152064, false, 14770033664, 0, kQwen25},
    {"qwen2.5-32b", "qwen2", 64, 5120, 40, 8, 128, 27648, 152064, false, 32763876352, 0, kQwen25},
    {"qwen2.5-72b", "qwen2", 80, 8192, 64, 8, 128, 29568, 152064, false, 72706203648, 0, kQwen25},
    {"qwen1.5-moe-a2.7b", "qwen2_moe", 24, 2048, 16, 16, 128, 5632, 151936, false, 14315784192, 2689173504, kQwen15Moe},
    {"qwen2-57b-a14b", "qwen2_moe", 28, 3584, 28, 4, 128, 18944, 151936, false, 57408658944, 14249270784, kQwen2Moe},
    {"qwen3-0.6b", "qwen3", 28, 1024, 16, 8, 128, 3072, 151936, true, 596049920, 0, kQwen3},
    {"qwen3-1.7b", "qwen3", 28, 2048, 16, 8, 128, 6144, 151936, true, 1720574976, 0, kQwen3},
    {"qwen3-4b", "qwen3", 36, 2560, 32, 8, 128, 9728, 151936, true, 4022468096, 0, kQwen3},
    {"qwen3-8b", "qwen3", 36, 4096, 32, 8, 128, 12288, 151936, false, 8190735360, 0, kQwen3},
    {"qwen3-14b", "qwen3", 40, 5120, 40, 8, 128, 17408, 151936, false, 14768307200, 0, kQwen3},
    {"qwen3-32b", "qwen3", 64, 5120, 64, 8, 128, 25600, 151936, false, 32762123264, 0, kQwen3},
    {"qwen3-30b-a3b", "qwen3_moe", 48, 2048, 32, 4, 128, 6144, 151936, false, 30532122624, 3353032704, kQwen3With30B},
    {"qwen3-235b-a22b", "qwen3_moe", 94, 4096, 64, 4, 128, 12288, 151936, false, 235093634560, 22190763520,
     kQwen3With235B},
    {"mistral-7b-v0.3", "mistral", 32, 4096, 32, 8, 128, 14336, 32768, false, 7248023552, 0, kMistral},
    {"mistral-nemo-12b", "mistral", 40, 5120, 32, 8, 128, 14336, 131072, false, 12247782400, 0, kNemo},
    {"mistral-small-3-24b", "mistral", 40, 5120, 32, 8, 128, 32768, 131072, false, 23572403200, 0, kMistralSmall},
    {"ministral-3-3b", "ministral3", 26, 3072, 32, 8, 128, 9216, 131072, true, 3429006336, 0, kMinistral3},
    {"ministral-3-8b", "ministral3", 34, 4096, 32, 8, 128, 14336, 131072, false, 8489553920, 0, kMinistral3},
    {"ministral-3-14b", "ministral3", 40, 5120, 32, 8, 128, 16384, 131072, false, 13506073600, 0, kMinistral3},
    {"granite-3.1-2b", "granite", 40, 2048, 32, 8, 64, 8192, 49155, true, 2533531648, 0, kGranite},
    {"olmo-2-7b", "olmo2", 32, 4096, 32, 32, 128, 11008, 100352, false, 7298617344, 0, kOlmo2},
    {"phi-3-mini", "phi3", 32, 3072, 32, 32, 96, 8192, 32064, false, 3821079552, 0, kPhi3},
    {"phi-3-medium", "phi3", 40, 5120, 40, 10, 128, 17920, 32064, false, 13960238080, 0, kPhi3},
    {"phi-4", "phi3", 40, 5120, 40, 10, 128, 17920, 100352, false, 14659507200, 0, kPhi4},
    {"phi-4-mini", "phi3", 32, 3072, 24, 8, 128, 8192, 200064, true, 3836021760, 0, kPhi4Mini},
};

/// What transformers calls the class of a family.
constexpr std::pair<std::string_view, std::string_view> kClasses[] = {
    {"gemma2", "Gemma2ForCausalLM"},         {"gemma3_text", "Gemma3ForCausalLM"}, {"gemma4_text", "Gemma4ForCausalLM"},
    {"gpt_oss", "GptOssForCausalLM"},        {"granite", "GraniteForCausalLM"},    {"llama", "LlamaForCausalLM"},
    {"mistral", "MistralForCausalLM"},       {"olmo2", "Olmo2ForCausalLM"},        {"phi3", "Phi3ForCausalLM"},
    {"qwen2", "Qwen2ForCausalLM"},           {"qwen2_moe", "Qwen2MoeForCausalLM"}, {"qwen3", "Qwen3ForCausalLM"},
    {"ministral3", "Ministral3ForCausalLM"}, {"qwen3_moe", "Qwen3MoeForCausalLM"}, {"smollm3", "SmolLM3ForCausalLM"},
};

/// A name without what people write in different ways: "Gemma 3 27B" is "gemma327b".
std::string plain(std::string_view name) {
  std::string letters;
  for (const char c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0)
      letters += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return letters;
}

Error unknown_shape(std::string_view name) {
  constexpr std::size_t kNamed = 4, kLongestName = 64;
  const std::string wanted = plain(name.substr(0, kLongestName));
  std::vector<std::pair<int, std::string_view>> near;
  for (const Shape& shape : kShapes) near.emplace_back(edit_distance(wanted, plain(shape.name)), shape.name);
  std::ranges::stable_sort(near, {}, &std::pair<int, std::string_view>::first);
  std::string names;
  for (std::size_t i = 0; i < kNamed; ++i) names += fmt::format("{}{}", i == 0 ? "" : ", ", near[i].second);
  return Error(Code::kNotFound, "no shape is known as ", printable(name.substr(0, kLongestName)),
               "; the nearest: ", names, "; all of them: commissure synth --list");
}

}  // namespace

std::span<const Shape> known_shapes() { return kShapes; }

Result<const Shape*> find_shape(std::string_view name) {
  const std::string wanted = plain(name);
  const auto* shape = std::ranges::find_if(kShapes, [&](const Shape& known) { return plain(known.name) == wanted; });
  if (shape == std::end(kShapes)) return unknown_shape(name);
  return shape;
}

Json config_of(const Shape& shape) {
  const auto* const named =
      std::ranges::find(kClasses, shape.family, &std::pair<std::string_view, std::string_view>::first);
  CHECK(named != std::end(kClasses));
  Json config = {{"architectures", Json::array({named->second})},
                 {"model_type", shape.family},
                 {"num_hidden_layers", shape.n_layers},
                 {"hidden_size", shape.d_model},
                 {"intermediate_size", shape.d_ff},
                 {"num_attention_heads", shape.n_heads},
                 {"num_key_value_heads", shape.n_kv_heads},
                 {"vocab_size", shape.n_vocab},
                 {"tie_word_embeddings", shape.tied_head}};
  if (shape.head_dim * shape.n_heads != shape.d_model) config["head_dim"] = shape.head_dim;
  const auto more = parse_json(shape.more);
  CHECK(more.has_value());
  config.update(*more);
  if (const Json* width = find_member(config, "hidden_size_per_layer_input"); width != nullptr && *width != 0) {
    config["vocab_size_per_layer_input"] = shape.n_vocab;
  }
  for (int layer = 1; shape.period > 0 && layer <= shape.n_layers; ++layer) {
    const bool sees_all = layer % shape.period == 0;
    config["layer_types"].push_back(sees_all ? "full_attention" : "sliding_attention");
  }
  return config;
}

}  // namespace commissure
