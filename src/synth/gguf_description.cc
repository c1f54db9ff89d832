#include "synth/gguf_description.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "core/index.h"
#include "model/config_fields.h"
#include "model/raw_spec.h"
#include "model/rope.h"
#include "synth/synth_config.h"

namespace commissure {
namespace {

/// A family as GGUF knows it.
struct GgufFamily {
  std::string_view ours;   ///< DecoderSpec::architecture of its config.json
  std::string_view gguf;   ///< general.architecture
  double theta = 10000.0;  ///< where config.json says none
  int pattern = 0;  ///< every so many layers one sees all positions, or rotates nothing, unless the file lists them
  bool is_listed = false;  ///< it can list them
  bool is_interleaved = false;
};
constexpr std::array<GgufFamily, 15> kFamilies = {{
    {"gemma2", "gemma2", 10000.0, 2, true},
    {"gemma3", "gemma3", 1000000.0, 6, true},
    {"gemma4", "gemma4"},
    {"gpt_oss", "gpt-oss", 150000.0, 2, true},
    {"granite", "granite", 10000.0, 0, false, true},
    {"llama", "llama", 10000.0, 0, false, true},
    {"ministral3", "mistral3", 1000000.0, 0, false, true},
    {"mistral", "llama", 10000.0, 0, false, true},
    {"olmo2", "olmo2"},
    {"phi3", "phi3"},
    {"qwen2", "qwen2"},
    {"qwen2_moe", "qwen2moe"},
    {"qwen3", "qwen3"},
    {"qwen3_moe", "qwen3moe"},
    {"smollm3", "smollm3", 2000000.0, 4, false, true},
}};

Result<const GgufFamily*> find_family(const DecoderSpec& spec) {
  const auto* family = std::ranges::find(kFamilies, std::string_view(spec.architecture), &GgufFamily::ours);
  if (family != kFamilies.end()) return family;
  return Error(Code::kUnimplemented, "models of the family ", spec.architecture,
               " are not made up as GGUF; say format safetensors");
}

/// Keys that begin with the architecture's name.
class FamilyKeys {
 public:
  FamilyKeys(GgufPairs& keys, std::string_view family) : keys_(keys), family_(family) {}

  void integer(std::string_view name, std::int64_t value) {
    keys_.integer(key(name), static_cast<std::uint32_t>(value));
  }
  void number(std::string_view name, double value) { keys_.number(key(name), static_cast<float>(value)); }
  void text(std::string_view name, std::string_view value) { keys_.text(key(name), value); }
  void integers(std::string_view name, const std::vector<std::int32_t>& values) { keys_.integers(key(name), values); }
  void flags(std::string_view name, const std::vector<bool>& values) { keys_.flags(key(name), values); }

 private:
  std::string key(std::string_view name) const { return fmt::format("{}.{}", family_, name); }

  GgufPairs& keys_;
  const std::string_view family_;
};

/// As llama.cpp numbers the types that most tensors of a file have.
std::uint32_t file_type(DType dtype, const DecoderSpec& spec) {
  if (spec.architecture == "gpt_oss") return 38;  // experts in MXFP4
  switch (dtype) {
    case DType::kF32: return 0;
    case DType::kF16: return 1;
    case DType::kQ8_0: return 7;
    default: return 32;
  }
}

void add_sizes(const DecoderSpec& spec, FamilyKeys& keys) {
  keys.integer("block_count", spec.n_layers());
  keys.integer("context_length", spec.n_context);
  keys.integer("embedding_length", spec.d_model);
  keys.integer("attention.head_count", spec.layers.front().heads.n_heads);
  keys.number("attention.layer_norm_rms_epsilon", static_cast<double>(spec.norm_eps));
  keys.integer("vocab_size", spec.n_vocab);
}

/// Of layers that have all the same.
void add_layer_sizes(const DecoderSpec& spec, std::int64_t d_ff, FamilyKeys& keys) {
  const HeadLayout& heads = spec.layers.front().heads;
  keys.integer("feed_forward_length", d_ff);
  keys.integer("attention.head_count_kv", heads.n_kv_heads);
  keys.integer("attention.key_length", heads.head_dim);
  keys.integer("attention.value_length", heads.head_dim);
  keys.integer("rope.dimension_count", 2 * std::ssize(spec.ropes.front().frequencies));
}

Status add_rope(const ConfigFields& config, const GgufFamily& family, FamilyKeys& keys) {
  keys.number("rope.freq_base", TRY(config.number_or("rope_theta", family.theta)));
  const Json* scaling = config.find("rope_scaling");
  if (scaling == nullptr) return {};
  const ConfigFields fields(*scaling);
  const std::string type = TRY(fields.text_or("rope_type", ""));
  if (type == "llama3") return {};  // a tensor says it
  if (type != "linear" && type != "yarn") {
    return Error(Code::kUnimplemented, "rope scaling ", type, " is not made up as GGUF; say format safetensors");
  }
  keys.text("rope.scaling.type", type);
  keys.number("rope.scaling.factor", TRY(fields.number_or("factor", 1.0)));
  if (type != "yarn") return {};
  keys.integer("rope.scaling.original_context_length", TRY(fields.integer("original_max_position_embeddings")));
  keys.number("rope.scaling.yarn_beta_fast", TRY(fields.number_or("beta_fast", 32.0)));
  keys.number("rope.scaling.yarn_beta_slow", TRY(fields.number_or("beta_slow", 1.0)));
  if (const double weight = TRY(fields.number_or("mscale_all_dim", 0.0)); weight != 0.0) {
    keys.number("rope.scaling.yarn_log_multiplier", weight);
  }
  const double growth = TRY(fields.number_or("llama_4_scaling_beta", 0.0));
  if (growth != 0.0) keys.number("attention.temperature_scale", growth);
  return {};
}

/// Which layers see a window, or rotate nothing, where that is not as the family's files have it.
Status add_pattern(const DecoderSpec& spec, const GgufFamily& family, FamilyKeys& keys) {
  if (const int window = widest_window(spec); window > 0) keys.integer("attention.sliding_window", window);
  if (family.pattern == 0) return {};
  std::vector<bool> found;
  for (const LayerSpec& layer : spec.layers) found.push_back(family.is_listed ? layer.window > 0 : layer.rope >= 0);
  if (found == all_but_every(spec.n_layers(), family.pattern)) return {};
  if (!family.is_listed) {
    return Error(Code::kInvalidArgument, "a GGUF of ", family.ours,
                 " cannot say which layers rotate nothing: layers "
                 "must begin at a multiple of ",
                 family.pattern, ", or the format be safetensors");
  }
  keys.flags("attention.sliding_window_pattern", found);
  return {};
}

/// One number where all layers have the same, else a list.
void add_by_layer(std::string_view name, const std::vector<std::int32_t>& values, FamilyKeys& keys) {
  const bool is_one = std::ranges::count(values, values.front()) == std::ssize(values);
  if (is_one) return keys.integer(name, values.front());
  keys.integers(name, values);
}

/// Gemma 4, whose layers that see all positions have other heads, and another rotation, than those with a window.
Status add_gemma4_layers(const ConfigFields& config, const DecoderSpec& spec, FamilyKeys& keys) {
  std::vector<std::int32_t> widths, kv_heads;
  std::vector<bool> sliding;
  for (const LayerSpec& layer : spec.layers) {
    widths.push_back(layer.d_ff);
    kv_heads.push_back(layer.heads.n_kv_heads);
    sliding.push_back(layer.window > 0);
  }
  add_by_layer("feed_forward_length", widths, keys);
  add_by_layer("attention.head_count_kv", kv_heads, keys);
  keys.flags("attention.sliding_window_pattern", sliding);
  keys.integer("attention.sliding_window", TRY(config.integer("sliding_window")));
  keys.integer("attention.shared_kv_layers", TRY(config.integer_or("num_kv_shared_layers", 0)));
  const std::int64_t full = TRY(config.integer("global_head_dim")), local = TRY(config.integer_or("head_dim", 256));
  for (const char* name : {"attention.key_length", "attention.value_length", "rope.dimension_count"}) {
    keys.integer(name, full);
    keys.integer(fmt::format("{}_swa", name), local);
  }
  keys.number("rope.freq_base", 1000000.0);
  keys.number("rope.freq_base_swa", 10000.0);
  keys.integer("embedding_length_per_layer_input", spec.per_layer_width);
  keys.number("final_logit_softcapping", static_cast<double>(spec.final_softcap));
  return {};
}

void add_experts(const ExpertSpec& experts, FamilyKeys& keys) {
  if (experts.n_experts == 0) return;
  keys.integer("expert_count", experts.n_experts);
  keys.integer("expert_used_count", experts.n_used);
  keys.integer("expert_feed_forward_length", experts.d_ff);
  if (experts.shared_d_ff > 0) keys.integer("expert_shared_feed_forward_length", experts.shared_d_ff);
}

void add_scales(const DecoderSpec& spec, FamilyKeys& keys) {
  const LayerSpec& layer = spec.layers.front();
  const bool is_granite = spec.architecture == "granite", is_gemma = spec.architecture.starts_with("gemma");
  if (spec.architecture == "gemma4") return;  // its scores are not scaled
  if (is_granite || is_gemma) keys.number("attention.scale", static_cast<double>(layer.attention_scale));
  if (spec.architecture == "gemma2") {
    keys.number("attn_logit_softcapping", static_cast<double>(layer.attention_softcap));
    keys.number("final_logit_softcapping", static_cast<double>(spec.final_softcap));
  }
  if (!is_granite) return;
  keys.number("embedding_scale", static_cast<double>(spec.embedding_scale));
  keys.number("residual_scale", static_cast<double>(layer.residual_scale));
  keys.number("logit_scale", 1.0 / static_cast<double>(spec.logit_scale));
}

/// Of Gemma 4's layers that see all positions: what does not turn is divided by what leaves nothing of it.
std::vector<float> proportional_divisors(const DecoderSpec& spec) {
  const auto layer = std::ranges::find(spec.layers, 0, &LayerSpec::window);
  if (layer == spec.layers.end()) return {};
  std::vector<float> divisors;
  for (const float turn : spec.ropes[layer->rope].frequencies) divisors.push_back(turn > 0.0f ? 1.0f : 1e30f);
  return divisors;
}

}  // namespace

Result<GgufPairs> gguf_keys(const SynthRequest& request, const Json& config, const DecoderSpec& spec) {
  const GgufFamily& family = *TRY(find_family(spec));
  const ConfigFields fields(config);
  GgufPairs keys;
  keys.text("general.architecture", family.gguf);
  keys.text("general.type", "model");
  keys.text("general.name", served_synth_name(request));
  keys.integer("general.file_type", file_type(request.dtype, spec));
  keys.integer("general.quantization_version", 2);
  keys.text("commissure.synth", synth_mark(request));
  FamilyKeys own(keys, family.gguf);
  add_sizes(spec, own);
  if (spec.architecture == "gemma4") {
    TRY(add_gemma4_layers(fields, spec, own));
  } else {
    add_layer_sizes(spec, TRY(fields.integer("intermediate_size")), own);
    TRY(add_rope(fields, family, own));
    TRY(add_pattern(spec, family, own));
  }
  add_experts(spec.layers.front().experts, own);
  add_scales(spec, own);
  return keys;
}

TensorNaming gguf_naming(const DecoderSpec& spec) {
  const bool is_fused = spec.architecture == "phi3";
  return {.format = CheckpointFormat::kGguf,
          .prefix = "",
          .head = "output.weight",
          .fused_qkv = is_fused,
          .fused_gate_up = is_fused};
}

bool is_interleaved_in_gguf(const DecoderSpec& spec) {
  const auto family = find_family(spec);
  return family && (*family)->is_interleaved;
}

std::vector<float> rope_divisors(const Json& config, const DecoderSpec& spec) {
  if (spec.architecture == "gemma4") return proportional_divisors(spec);
  const Json* scaling = find_member(config, "rope_scaling");
  const Json* type = scaling == nullptr ? nullptr : find_member(*scaling, "rope_type");
  if (type == nullptr || *type != "llama3") return {};
  const std::vector<float>& slowed = spec.ropes.front().frequencies;
  const double theta = config.value("rope_theta", 10000.0);
  std::vector<float> divisors = rope_frequencies(2 * count_of(slowed), theta);
  for (std::size_t i = 0; i < divisors.size(); ++i) divisors[i] /= slowed[i];
  return divisors;
}

}  // namespace commissure
