#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>

#include "model/config_fields.h"
#include "model/decoder_spec.h"
#include "model/raw_spec.h"

namespace commissure {
namespace {

Result<YarnScaling> read_yarn(const ConfigFields& fields, std::int64_t n_context) {
  YarnScaling yarn;
  yarn.factor = TRY(fields.number_or("factor", 0.0));  // 0 is out of range, and named then
  yarn.original_context = TRY(fields.number_or("original_max_position_embeddings", static_cast<double>(n_context)));
  yarn.beta_fast = TRY(fields.number_or("beta_fast", yarn.beta_fast));
  yarn.beta_slow = TRY(fields.number_or("beta_slow", yarn.beta_slow));
  yarn.truncates = TRY(fields.boolean_or("truncate", true));
  const double own = TRY(fields.number_or("mscale", 0.0)), all = TRY(fields.number_or("mscale_all_dim", 0.0));
  const double magnitude = own != 0.0 && all != 0.0
                               ? yarn_magnitude(yarn.factor, own) / yarn_magnitude(yarn.factor, all)
                               : yarn_magnitude(yarn.factor);
  yarn.magnitude = TRY(fields.number_or("attention_factor", magnitude));
  return yarn;
}

}  // namespace

Result<RawRope> read_rope(const Json* scaling, double theta, std::int64_t n_context) {
  RawRope rope;
  rope.theta = theta;
  if (scaling == nullptr) return rope;
  if (!scaling->is_object()) return Error(Code::kInvalidArgument, "config.json: rope scaling must be an object");
  const ConfigFields fields(*scaling);
  rope.theta = TRY(fields.number_or("rope_theta", theta));
  const std::string type = TRY(fields.text_or("rope_type", TRY(fields.text_or("type", "default"))));
  if (type == "proportional") {
    // The turning pairs keep the frequencies they have in the whole head.
    rope.rotated = TRY(fields.number_or("partial_rotary_factor", 1.0));
    rope.linear_factor = TRY(fields.number_or("factor", 1.0));
    return rope;
  }
  if (TRY(fields.number_or("partial_rotary_factor", 1.0)) != 1.0) {
    return Error(Code::kUnimplemented, "config.json: rope with a partial_rotary_factor other than 1 is not supported");
  }
  if (type == "default") return rope;
  if (type == "linear") {
    rope.linear_factor = TRY(fields.number_or("factor", 1.0));
    return rope;
  }
  if (type == "llama3") {
    Llama3Scaling llama3;
    llama3.factor = TRY(fields.number_or("factor", llama3.factor));
    llama3.low_frequency_factor = TRY(fields.number_or("low_freq_factor", llama3.low_frequency_factor));
    llama3.high_frequency_factor = TRY(fields.number_or("high_freq_factor", llama3.high_frequency_factor));
    llama3.original_context = TRY(fields.number_or("original_max_position_embeddings", llama3.original_context));
    rope.llama3 = llama3;
    return rope;
  }
  if (type == "yarn") {
    rope.yarn = TRY(read_yarn(fields, n_context));
    return rope;
  }
  return Error(Code::kUnimplemented, "rope scaling \"", type,
               "\" is not supported; supported: linear, llama3, yarn, proportional");
}

const Json* rope_object(const ConfigFields& fields, std::string_view layer_type) {
  const Json* parameters = fields.find("rope_parameters");
  if (parameters == nullptr) return layer_type == "sliding_attention" ? nullptr : fields.find("rope_scaling");
  if (const Json* typed = find_member(*parameters, layer_type)) return typed;
  const bool is_typed = find_member(*parameters, "full_attention") || find_member(*parameters, "sliding_attention");
  return is_typed || layer_type == "sliding_attention" ? nullptr : parameters;
}

Result<std::vector<bool>> read_layer_types(const Json& types) {
  if (!types.is_array()) return Error(Code::kInvalidArgument, "config.json: layer_types must be a list");
  std::vector<bool> sliding;
  for (const Json& type : types) {
    if (type != "sliding_attention" && type != "full_attention") {
      return Error(Code::kUnimplemented, "config.json: layer_types knows full_attention and sliding_attention, found ",
                   dump_json(type));
    }
    sliding.push_back(type == "sliding_attention");
  }
  return sliding;
}

Result<RawSpec> read_common(const ConfigFields& fields) {
  RawSpec raw;
  raw.n_layers = TRY(fields.integer("num_hidden_layers"));
  raw.d_model = TRY(fields.integer("hidden_size"));
  // Where all layers have experts, some say their width alone.
  const bool has_width = fields.find("intermediate_size") != nullptr || fields.find("moe_intermediate_size") == nullptr;
  raw.d_ff = TRY(fields.integer(has_width ? "intermediate_size" : "moe_intermediate_size"));
  raw.norm_eps = TRY(fields.number_or("rms_norm_eps", 1e-6));
  for (const auto& [key, causal] : {std::pair{"use_bidirectional_attention", false}, std::pair{"is_causal", true}}) {
    if (TRY(fields.boolean_or(key, causal)) == causal) continue;
    return Error(Code::kUnimplemented, "config.json: ", key, " is ", causal ? "false" : "true",
                 ": this is an encoder, and only models that look back alone are supported");
  }
  raw.qkv_bias = raw.output_bias = TRY(fields.boolean_or("attention_bias", false));
  if (TRY(fields.boolean_or("mlp_bias", false))) {
    return Error(Code::kUnimplemented, "config.json: mlp_bias: biases of the feed-forward are not supported");
  }
  return raw;
}

double rounded_embedding_scale(std::int64_t d_model, DType dtype) {
  const auto scale = static_cast<float>(std::sqrt(static_cast<double>(d_model)));
  if (dtype == DType::kBF16) return to_float(to_bf16(scale));
  if (dtype == DType::kF16) return half_to_float(float_to_half(scale));
  return scale;
}

Status refuse_partial_rotation(const ConfigFields& fields) {
  if (TRY(fields.number_or("partial_rotary_factor", 1.0)) == 1.0) return {};
  return Error(Code::kUnimplemented, "config.json: partial_rotary_factor other than 1 is not supported");
}

namespace {

/// What Gemma 2 and 3 share.
Result<RawSpec> read_gemma(const ConfigFields& fields, std::int64_t n_vocab, std::int64_t n_context,
                           DType embedding_dtype) {
  RawSpec raw = TRY(read_common(fields));
  TRY(refuse_partial_rotation(fields));
  raw.n_vocab = TRY(fields.integer_or("vocab_size", n_vocab));
  raw.n_context = TRY(fields.integer_or("max_position_embeddings", n_context));
  raw.n_heads = TRY(fields.integer_or("num_attention_heads", 8));
  raw.n_kv_heads = TRY(fields.integer_or("num_key_value_heads", 4));
  raw.head_dim = TRY(fields.integer_or("head_dim", 256));
  raw.window = TRY(fields.integer_or("sliding_window", 4096));
  raw.tied_head = TRY(fields.boolean_or("tie_word_embeddings", true));
  const double query_scalar = TRY(fields.number_or("query_pre_attn_scalar", 256.0));
  if (!(query_scalar >= 1e-3))
    return Error(Code::kInvalidArgument, "config.json: query_pre_attn_scalar is not positive");
  raw.attention_scale = 1.0 / std::sqrt(query_scalar);
  const std::string activation = TRY(fields.text_or("hidden_activation", "gelu_pytorch_tanh"));
  if (activation != "gelu_pytorch_tanh") {
    return Error(Code::kUnimplemented, "config.json: hidden_activation \"", activation, "\" is not supported");
  }
  raw.attention_softcap = TRY(fields.number_or("attn_logit_softcapping", 0.0));
  raw.final_softcap = TRY(fields.number_or("final_logit_softcapping", 0.0));
  raw.activation = Activation::kGeluTanh;
  raw.post_norms = true;
  raw.norm_offset = 1.0;
  raw.embedding_scale = rounded_embedding_scale(raw.d_model, embedding_dtype);
  if (const Json* types = fields.find("layer_types")) raw.sliding = TRY(read_layer_types(*types));
  return raw;
}

Result<RawSpec> read_gemma2(const ConfigFields& fields, DType embedding_dtype) {
  RawSpec raw = TRY(read_gemma(fields, 256000, 8192, embedding_dtype));
  // Absent means the family's caps; an explicit null means none.
  if (!fields.has("attn_logit_softcapping")) raw.attention_softcap = 50.0;
  if (!fields.has("final_logit_softcapping")) raw.final_softcap = 30.0;
  if (fields.find("layer_types") == nullptr) raw.sliding = all_but_every(raw.n_layers, 2);
  raw.rope = TRY(
      read_rope(rope_object(fields, "full_attention"), TRY(fields.number_or("rope_theta", 10000.0)), raw.n_context));
  return raw;
}

Result<RawSpec> read_gemma3(const ConfigFields& fields, DType embedding_dtype) {
  RawSpec raw = TRY(read_gemma(fields, 262208, 131072, embedding_dtype));
  raw.qk_norm = true;
  const std::int64_t period =
      TRY(fields.integer_or("sliding_window_pattern", TRY(fields.integer_or("_sliding_window_pattern", 6))));
  if (fields.find("layer_types") == nullptr) raw.sliding = all_but_every(raw.n_layers, period);
  raw.rope = TRY(
      read_rope(rope_object(fields, "full_attention"), TRY(fields.number_or("rope_theta", 1000000.0)), raw.n_context));
  raw.sliding_rope = TRY(read_rope(rope_object(fields, "sliding_attention"),
                                   TRY(fields.number_or("rope_local_base_freq", 10000.0)), raw.n_context));
  return raw;
}

/// The width of a head where config.json does not say it.
Result<std::int64_t> even_share(std::int64_t d_model, std::int64_t n_heads) {
  if (n_heads <= 0) return 0;  // build_spec names it
  if (d_model % n_heads == 0) return d_model / n_heads;
  return Error(Code::kInvalidArgument, "config.json: hidden_size ", d_model, " is no multiple of num_attention_heads ",
               n_heads, ", and there is no head_dim");
}

}  // namespace

Result<RawSpec> read_llama(const ConfigFields& fields, const Defaults& defaults) {
  RawSpec raw = TRY(read_common(fields));
  raw.n_vocab = TRY(fields.integer("vocab_size"));
  raw.n_context = TRY(fields.integer_or("max_position_embeddings", 2048));
  raw.n_heads = TRY(fields.integer("num_attention_heads"));
  raw.n_kv_heads = TRY(fields.integer_or("num_key_value_heads", raw.n_heads));
  raw.head_dim = TRY(fields.integer_or("head_dim", defaults.head_dim));
  if (raw.head_dim == 0 && fields.find("head_dim") == nullptr) raw.head_dim = TRY(even_share(raw.d_model, raw.n_heads));
  raw.tied_head = TRY(fields.boolean_or("tie_word_embeddings", defaults.tied_head));
  const std::string activation = TRY(fields.text_or("hidden_act", "silu"));
  if (activation != "silu") {
    return Error(Code::kUnimplemented, "config.json: hidden_act \"", activation, "\" is not supported");
  }
  if (!defaults.reads_rope) return raw;
  TRY(refuse_partial_rotation(fields));
  raw.rope = TRY(read_rope(rope_object(fields, "full_attention"),
                           TRY(fields.number_or("rope_theta", defaults.rope_theta)), raw.n_context));
  return raw;
}

namespace {

/// Of families whose rule for it is not Qwen 2's own, and which no published model uses.
Status refuse_qwen_window(const ConfigFields& fields) {
  if (!TRY(fields.boolean_or("use_sliding_window", false))) return {};
  return Error(Code::kUnimplemented, "config.json: use_sliding_window is not supported in this family");
}

/// The window of the layers from max_window_layers on, which few Qwen models use.
Status read_qwen_window(const ConfigFields& fields, RawSpec& raw) {
  const bool has_window = TRY(fields.boolean_or("use_sliding_window", false));
  const Json* types = fields.find("layer_types");
  if (types != nullptr) raw.sliding = TRY(read_layer_types(*types));
  if (!has_window) {
    if (std::ranges::find(raw.sliding, true) == raw.sliding.end()) return {};
    return Error(Code::kInvalidArgument,
                 "config.json: use_sliding_window is false, but layer_types lists sliding_attention");
  }
  // Absent means the family's default of 4096; an explicit null means no window.
  raw.window = TRY(fields.integer_or("sliding_window", fields.has("sliding_window") ? 0 : 4096));
  const std::int64_t first = TRY(fields.integer_or("max_window_layers", 28));
  for (std::int64_t layer = 0; types == nullptr && layer < std::min(raw.n_layers, kMaxLayers); ++layer) {
    raw.sliding.push_back(layer >= first);
  }
  return {};
}

Result<RawSpec> read_qwen2(const ConfigFields& fields) {
  RawSpec raw = TRY(read_llama(fields));
  raw.n_kv_heads = TRY(fields.integer_or("num_key_value_heads", 32));
  raw.qkv_bias = true;
  raw.output_bias = false;
  TRY(read_qwen_window(fields, raw));
  return raw;
}

Result<RawSpec> read_qwen3(const ConfigFields& fields) {
  RawSpec raw = TRY(read_llama(fields, {.head_dim = 128}));
  raw.n_kv_heads = TRY(fields.integer_or("num_key_value_heads", 32));
  raw.qk_norm = true;
  TRY(read_qwen_window(fields, raw));
  return raw;
}

/// Norms stand after the branches, not before them, and heads are normed all at once.
Result<RawSpec> read_olmo2(const ConfigFields& fields) {
  RawSpec raw = TRY(read_llama(fields));
  raw.norm_eps = TRY(fields.number_or("rms_norm_eps", 1e-5));
  raw.pre_norms = false;
  raw.post_norms = true;
  raw.qk_norm = raw.wide_qk_norm = true;
  return raw;
}

/// Some layers rotate nothing.
Result<RawSpec> read_smollm3(const ConfigFields& fields) {
  RawSpec raw = TRY(read_llama(fields, {.rope_theta = 2000000.0, .tied_head = true}));
  raw.n_kv_heads = TRY(fields.integer_or("num_key_value_heads", 4));
  TRY(refuse_qwen_window(fields));
  TRY(read_qwen_window(fields, raw));
  const Json* list = fields.find("no_rope_layers");
  if (list == nullptr) {
    raw.rotates = all_but_every(raw.n_layers, TRY(fields.integer_or("no_rope_layer_interval", 4)));
    return raw;
  }
  if (!list->is_array()) return Error(Code::kInvalidArgument, "config.json: no_rope_layers must be a list");
  for (const Json& rotates : *list) {
    if (rotates != 0 && rotates != 1) {
      return Error(Code::kInvalidArgument, "config.json: no_rope_layers must be a list of 0 and 1");
    }
    raw.rotates.push_back(rotates == 1);
  }
  return raw;
}

Result<RawSpec> read_qwen2_moe(const ConfigFields& fields) {
  TRY(refuse_qwen_window(fields));
  RawSpec raw = TRY(read_qwen2(fields));
  if (fields.find("num_key_value_heads") == nullptr) raw.n_kv_heads = 16;
  raw.qkv_bias = TRY(fields.boolean_or("qkv_bias", true));
  TRY(read_qwen_experts(fields, /*has_shared=*/true, raw));
  return raw;
}

Result<RawSpec> read_qwen3_moe(const ConfigFields& fields) {
  TRY(refuse_qwen_window(fields));
  RawSpec raw = TRY(read_qwen3(fields));
  if (fields.find("num_key_value_heads") == nullptr) raw.n_kv_heads = 4;
  TRY(read_qwen_experts(fields, /*has_shared=*/false, raw));
  return raw;
}

Result<RawSpec> read_granite(const ConfigFields& fields) {
  RawSpec raw = TRY(read_llama(fields));
  raw.embedding_scale = TRY(fields.number_or("embedding_multiplier", 1.0));
  raw.residual_scale = TRY(fields.number_or("residual_multiplier", 1.0));
  raw.attention_scale = TRY(fields.number_or("attention_multiplier", 1.0));
  const double divisor = TRY(fields.number_or("logits_scaling", 1.0));
  if (!(divisor > 0.0)) return Error(Code::kInvalidArgument, "config.json: logits_scaling must be positive");
  raw.logit_scale = 1.0 / divisor;
  return raw;
}

/// One model_type that we know.
struct Family {
  std::string_view model_type;
  std::string_view architecture;  ///< the name we use
  std::string_view text_type;     ///< model_type of text_config; empty: config.json is flat
};
/// Of one model_type the first is meant where text_config has no model_type.
constexpr std::array<Family, 25> kFamilies = {{
    {"gemma2", "gemma2", ""},
    {"gemma3", "gemma3", "gemma3_text"},
    {"gemma3_text", "gemma3", ""},
    {"gemma4", "gemma4", "gemma4_text"},
    {"gemma4_text", "gemma4", ""},
    {"gemma4_unified", "gemma4", "gemma4_unified_text"},
    {"gemma4_unified_text", "gemma4", ""},
    {"gpt_oss", "gpt_oss", ""},
    {"granite", "granite", ""},
    {"llama", "llama", ""},
    {"ministral3", "ministral3", ""},
    {"mistral", "mistral", ""},
    {"mistral3", "mistral", "mistral"},
    {"mistral3", "ministral3", "ministral3"},
    {"olmo2", "olmo2", ""},
    {"phi3", "phi3", ""},
    {"qwen2", "qwen2", ""},
    {"qwen2_moe", "qwen2_moe", ""},
    {"qwen3", "qwen3", ""},
    {"qwen3_5", "qwen3_5", "qwen3_5_text"},
    {"qwen3_5_moe", "qwen3_5_moe", "qwen3_5_moe_text"},
    {"qwen3_5_moe_text", "qwen3_5_moe", ""},
    {"qwen3_5_text", "qwen3_5", ""},
    {"qwen3_moe", "qwen3_moe", ""},
    {"smollm3", "smollm3", ""},
}};

Result<const Family*> find_family(const Json& config) {
  const std::string model_type = TRY(ConfigFields(config).text_or("model_type", ""));
  if (model_type.empty()) return Error(Code::kInvalidArgument, "config.json: model_type is missing");
  const auto* family = std::ranges::find(kFamilies, std::string_view(model_type), &Family::model_type);
  if (family == kFamilies.end()) {
    return Error(Code::kUnimplemented, "model type \"", model_type,
                 "\" is not supported; supported: ", supported_architectures());
  }
  if (family->text_type.empty()) return family;
  const Json* text = find_member(config, "text_config");
  if (text == nullptr) return Error(Code::kInvalidArgument, "config.json: text_config is missing");
  const std::string type = TRY(ConfigFields(*text).text_or("model_type", std::string(family->text_type)));
  std::string known;
  for (const Family& each : kFamilies) {
    if (each.model_type != model_type) continue;
    if (each.text_type == type) return &each;
    known += (known.empty() ? "\"" : ", \"") + std::string(each.text_type) + "\"";
  }
  return Error(Code::kUnimplemented, "config.json: text_config has model_type \"", type, "\", with ", model_type,
               " only ", known, " is supported");
}

/// The object that describes the language model.
const Json& text_config(const Json& config, const Family& family) {
  return family.text_type.empty() ? config : *find_member(config, "text_config");
}

Result<RawSpec> read_family(std::string_view architecture, const Json& config, DType embedding_dtype) {
  const ConfigFields fields(config);
  if (architecture == "gemma2") return read_gemma2(fields, embedding_dtype);
  if (architecture == "gemma3") return read_gemma3(fields, embedding_dtype);
  if (architecture == "gemma4") return read_gemma4(fields, embedding_dtype);
  if (architecture == "gpt_oss") return read_gpt_oss(fields);
  if (architecture == "granite") return read_granite(fields);
  if (architecture == "olmo2") return read_olmo2(fields);
  if (architecture == "smollm3") return read_smollm3(fields);
  if (architecture == "ministral3") return read_ministral3(fields);
  if (architecture == "mistral") return read_mistral(fields);
  if (architecture == "phi3") return read_phi3(fields);
  if (architecture == "qwen2") return read_qwen2(fields);
  if (architecture == "qwen2_moe") return read_qwen2_moe(fields);
  if (architecture == "qwen3") return read_qwen3(fields);
  if (architecture == "qwen3_5") return read_qwen35(fields, /*has_experts=*/false);
  if (architecture == "qwen3_5_moe") return read_qwen35(fields, /*has_experts=*/true);
  if (architecture == "qwen3_moe") return read_qwen3_moe(fields);
  return read_llama(fields);
}

}  // namespace

Status check_config_family(const Json& config) {
  TRY(find_family(config));
  return {};
}

Result<DecoderSpec> spec_from_config(const Json& config, DType embedding_dtype) {
  const Family* family = TRY(find_family(config));
  RawSpec raw = TRY(read_family(family->architecture, text_config(config, *family), embedding_dtype));
  raw.architecture = family->architecture;
  if (raw.architecture.starts_with("qwen3_5"))  // said of the language model, of the whole, or of both
    raw.tied_head = raw.tied_head || TRY(ConfigFields(config).boolean_or("tie_word_embeddings", false));
  DecoderSpec spec = TRY(build_spec(raw));
  const bool is_fused = raw.architecture == "phi3";
  spec.naming = {.format = CheckpointFormat::kSafetensors,
                 .prefix = "model.",
                 .head = "lm_head.weight",
                 .fused_qkv = is_fused,
                 .fused_gate_up = is_fused,
                 .fused_experts = raw.architecture == "gpt_oss"};
  return spec;
}

}  // namespace commissure
