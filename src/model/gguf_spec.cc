#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>

#include "model/decoder_spec.h"
#include "model/gguf_keys.h"
#include "model/raw_spec.h"

namespace commissure {
namespace {

using Keys = GgufKeys;

// Gemma 3 files leave these to the reader.
constexpr double kGemmaLocalTheta = 10000.0;
constexpr double kGemmaGlobalTheta = 1000000.0;
constexpr std::int64_t kGemmaPeriod = 6;
constexpr std::int64_t kGemma27BLayers = 62;
constexpr std::int64_t kGemma2With27BLayers = 46;
constexpr std::int64_t kGemma4BLayers = 34;

Result<RawSpec> read_common(const Keys& keys, const GgufFacts& facts, bool may_rotate_part = false) {
  RawSpec raw;
  raw.n_layers = TRY(keys.integer("block_count"));
  raw.d_model = TRY(keys.integer("embedding_length"));
  raw.n_vocab = facts.n_vocab;
  raw.n_context = TRY(keys.integer("context_length"));
  raw.n_heads = TRY(keys.integer("attention.head_count"));
  raw.n_kv_heads = TRY(keys.integer_or("attention.head_count_kv", raw.n_heads));
  // Where all layers have experts, some files say their width alone.
  const bool has_width = keys.has("feed_forward_length") || !keys.has("expert_feed_forward_length");
  raw.d_ff = TRY(keys.integer(has_width ? "feed_forward_length" : "expert_feed_forward_length"));
  raw.window = TRY(keys.integer_or("attention.sliding_window", 0));
  raw.attention_scale = TRY(keys.number_or("attention.scale", 0.0));
  raw.norm_eps = TRY(keys.number_or("attention.layer_norm_rms_epsilon", -1.0));
  raw.tied_head = !facts.has_head;
  raw.qkv_bias = facts.has_qkv_bias;
  raw.output_bias = facts.has_output_bias;
  raw.rope.divisors = facts.rope_divisors;

  const std::int64_t even_share = raw.n_heads > 0 ? raw.d_model / raw.n_heads : 0;
  raw.head_dim = TRY(keys.integer_or("attention.key_length", even_share));
  const std::int64_t value_dim = TRY(keys.integer_or("attention.value_length", raw.head_dim));
  raw.n_rotated = TRY(keys.integer_or("rope.dimension_count", raw.head_dim));
  if (value_dim != raw.head_dim || (raw.n_rotated != raw.head_dim && !may_rotate_part)) {
    return Error(Code::kUnimplemented, "GGUF header: key length ", raw.head_dim, ", value length ", value_dim,
                 " and rope dimensions ", raw.n_rotated, " must be equal");
  }
  if (const auto causal = keys.metadata().boolean(keys.full("attention.causal")); causal == false) {
    return Error(Code::kUnimplemented, "GGUF header: ", keys.full("attention.causal"),
                 " is false: this is an encoder, and only models that look back alone are supported");
  }
  raw.experts.n_experts = TRY(keys.integer_or("expert_count", 0));
  return raw;
}

Result<YarnScaling> read_yarn(const Keys& keys, std::int64_t n_context) {
  if (constexpr const char* kName = "rope.scaling.yarn_ext_factor"; keys.has(kName)) {
    return Error(Code::kUnimplemented, "GGUF header: ", keys.full(kName), " is not supported");
  }
  YarnScaling yarn;
  yarn.factor = TRY(keys.number_or("rope.scaling.factor", 0.0));  // 0 is out of range, and named then
  yarn.original_context = TRY(keys.number_or("rope.scaling.original_context_length", static_cast<double>(n_context)));
  yarn.beta_fast = TRY(keys.number_or("rope.scaling.yarn_beta_fast", yarn.beta_fast));
  yarn.beta_slow = TRY(keys.number_or("rope.scaling.yarn_beta_slow", yarn.beta_slow));
  const double factor = TRY(keys.number_or("rope.scaling.yarn_attn_factor", 1.0));
  const double weight = TRY(keys.number_or("rope.scaling.yarn_log_multiplier", 0.0));  // mscale_all_dim, mscale being 1
  yarn.magnitude = yarn_magnitude(yarn.factor) / (weight != 0.0 ? yarn_magnitude(yarn.factor, weight) : 1.0) *
                   TRY(keys.number_or("rope.scaling.attn_factor", factor));
  return yarn;
}

}  // namespace

Status read_gguf_scaling(const GgufKeys& keys, double fallback, std::int64_t n_context, RawRope& rope) {
  const std::string* type = keys.metadata().text(keys.full("rope.scaling.type"));
  if (type != nullptr && *type == "none") return {};
  if (type != nullptr && *type == "yarn") {
    rope.yarn = TRY(read_yarn(keys, n_context));
    return {};
  }
  if (type != nullptr && *type != "linear") {
    return Error(Code::kUnimplemented, "rope scaling \"", *type,
                 "\" is not supported; supported: linear, llama3, yarn");
  }
  // Files from before rope.scaling.* carry rope.scale_linear.
  const double legacy = TRY(keys.number_or("rope.scale_linear", fallback));
  rope.linear_factor = TRY(keys.number_or("rope.scaling.factor", legacy));
  return {};
}

namespace {

Result<RawSpec> read_llama(const Keys& keys, const GgufFacts& facts) {
  RawSpec raw = TRY(read_common(keys, facts));
  raw.rope.theta = TRY(keys.number_or("rope.freq_base", 10000.0));
  TRY(read_gguf_scaling(keys, 1.0, raw.n_context, raw.rope));
  raw.rope.interleaved = true;  // the converter permutes the rows of q and k
  return raw;
}

/// Mistrals with an image encoder, and Ministral 3, whose queries grow with their position.
Result<RawSpec> read_mistral3(const Keys& keys, const GgufFacts& facts) {
  RawSpec raw = TRY(read_llama(keys, facts));
  raw.rope.query_growth = TRY(keys.number_or("attention.temperature_scale", 0.0));
  raw.rope.query_growth_context = TRY(keys.number_or("rope.scaling.original_context_length", 0.0));
  return raw;
}

/// Qwen 2 and 3. Their files may name a window that the model does not use.
Result<RawSpec> read_qwen(const Keys& keys, const GgufFacts& facts, bool qk_norm) {
  RawSpec raw = TRY(read_llama(keys, facts));
  raw.rope.interleaved = false;
  raw.qkv_bias = raw.qkv_bias || !qk_norm;
  raw.qk_norm = qk_norm;
  raw.window = 0;
  return raw;
}

/// Of a family whose layers all have some.
Status read_experts(const Keys& keys, RawExperts& experts) {
  if (experts.n_experts == 0) return Error(Code::kInvalidArgument, "GGUF header: ", keys.full("expert_count"), " is 0");
  experts.n_used = TRY(keys.integer("expert_used_count"));
  if (experts.n_used < 1) {
    return Error(Code::kInvalidArgument, "GGUF header: ", keys.full("expert_used_count"), " is ", experts.n_used,
                 ", must be 1 at least");
  }
  experts.d_ff = TRY(keys.integer("expert_feed_forward_length"));
  return {};
}

/// Qwen 2 and 3 with experts in every layer. What the file does not say is as in all published ones.
Result<RawSpec> read_qwen_moe(const Keys& keys, const GgufFacts& facts, bool qk_norm) {
  RawSpec raw = TRY(read_qwen(keys, facts, qk_norm));
  RawExperts& experts = raw.experts;
  TRY(read_experts(keys, experts));
  experts.normalised = qk_norm;
  if (!qk_norm) experts.shared_d_ff = TRY(keys.integer("expert_shared_feed_forward_length"));
  return raw;
}

/// 0 would mean that whole heads turn.
Status check_rotates(const Keys& keys, const RawSpec& raw) {
  if (raw.n_rotated >= 2) return {};
  return Error(Code::kInvalidArgument, "GGUF header: ", keys.full("rope.dimension_count"), " is ", raw.n_rotated,
               ", must be 2 at least");
}

/// Long factors are taken whenever the model was made for more positions than the short ones serve.
Result<RawSpec> read_phi3(const Keys& keys, const GgufFacts& facts) {
  RawSpec raw = TRY(read_common(keys, facts, /*may_rotate_part=*/true));
  raw.rope.theta = TRY(keys.number_or("rope.freq_base", 10000.0));
  TRY(check_rotates(keys, raw));
  if (facts.long_factors.empty() != facts.short_factors.empty()) {
    return Error(Code::kInvalidArgument, "of rope_factors_long.weight and rope_factors_short.weight only one is there");
  }
  if (facts.long_factors.empty()) {
    TRY(read_gguf_scaling(keys, 1.0, raw.n_context, raw.rope));
    return raw;
  }
  const double original =
      TRY(keys.number_or("rope.scaling.original_context_length", static_cast<double>(raw.n_context)));
  if (!(original > 1.0)) {
    return Error(Code::kInvalidArgument, "GGUF header: ", keys.full("rope.scaling.original_context_length"), " is ",
                 original);
  }
  const double factor = static_cast<double>(raw.n_context) / original;
  raw.rope.divisors = factor > 1.0 ? facts.long_factors : facts.short_factors;
  raw.rope.magnitude = TRY(keys.number_or("rope.scaling.attn_factor", long_rope_magnitude(factor, original)));
  return raw;
}

Result<RawSpec> read_olmo2(const Keys& keys, const GgufFacts& facts) {
  RawSpec raw = TRY(read_llama(keys, facts));
  raw.rope.interleaved = false;
  raw.pre_norms = false;
  raw.post_norms = true;
  raw.qk_norm = raw.wide_qk_norm = true;
  if (raw.window == 0) return raw;
  return Error(Code::kUnimplemented, "GGUF header: ", keys.full("attention.sliding_window"),
               " is set: OLMo 3 is not supported");
}

/// The file does not say which layers rotate nothing: it is every fourth.
Result<RawSpec> read_smollm3(const Keys& keys, const GgufFacts& facts) {
  RawSpec raw = TRY(read_llama(keys, facts));
  raw.rotates = all_but_every(raw.n_layers, 4);
  return raw;
}

Result<RawSpec> read_granite(const Keys& keys, const GgufFacts& facts) {
  RawSpec raw = TRY(read_llama(keys, facts));
  raw.embedding_scale = TRY(keys.number_or("embedding_scale", 1.0));
  raw.residual_scale = TRY(keys.number_or("residual_scale", 1.0));
  const double divisor = TRY(keys.number_or("logit_scale", 1.0));
  if (!(divisor > 0.0)) {
    return Error(Code::kInvalidArgument, "GGUF header: ", keys.full("logit_scale"), " must be positive");
  }
  raw.logit_scale = 1.0 / divisor;
  return raw;
}

/// Newer files list the pattern: a period, or true for every sliding layer.
Result<std::vector<bool>> read_sliding(const Keys& keys, std::int64_t n_layers, std::int64_t period) {
  const std::string key = keys.full("attention.sliding_window_pattern");
  if (const auto* list = keys.metadata().find<std::vector<bool>>(key)) return *list;
  return all_but_every(n_layers, TRY(keys.integer_or("attention.sliding_window_pattern", period)));
}

/// What Gemma 2 and 3 share. `largest`: layers of the size whose scores are scaled by the even share of the width.
Result<RawSpec> read_gemma(const Keys& keys, const GgufFacts& facts, std::int64_t largest) {
  RawSpec raw = TRY(read_common(keys, facts));
  raw.post_norms = true;
  raw.activation = Activation::kGeluTanh;
  raw.embedding_scale = std::sqrt(static_cast<double>(raw.d_model));
  if (raw.n_layers == largest && raw.attention_scale == 0.0 && raw.n_heads > 0 && raw.d_model > 0) {
    raw.attention_scale = 1.0 / std::sqrt(static_cast<double>(raw.d_model) / static_cast<double>(raw.n_heads));
  }
  return raw;
}

Result<RawSpec> read_gemma2(const Keys& keys, const GgufFacts& facts) {
  RawSpec raw = TRY(read_gemma(keys, facts, kGemma2With27BLayers));
  raw.attention_softcap = TRY(keys.number_or("attn_logit_softcapping", 50.0));
  raw.final_softcap = TRY(keys.number_or("final_logit_softcapping", 30.0));
  raw.window = TRY(keys.integer_or("attention.sliding_window", 4096));
  raw.sliding = TRY(read_sliding(keys, raw.n_layers, 2));
  raw.rope.theta = TRY(keys.number_or("rope.freq_base", 10000.0));
  TRY(read_gguf_scaling(keys, 1.0, raw.n_context, raw.rope));
  return raw;
}

Result<RawSpec> read_gemma3(const Keys& keys, const GgufFacts& facts) {
  RawSpec raw = TRY(read_gemma(keys, facts, kGemma27BLayers));
  raw.attention_softcap = TRY(keys.number_or("attn_logit_softcapping", 0.0));
  raw.final_softcap = TRY(keys.number_or("final_logit_softcapping", 0.0));
  raw.qk_norm = true;
  raw.sliding = TRY(read_sliding(keys, raw.n_layers, kGemmaPeriod));

  // Some multimodal files omit both keys and mean the 4B values.
  const bool omits_rope = !keys.has("rope.freq_base") && !keys.has("rope.scaling.type");
  raw.rope.theta = TRY(keys.number_or("rope.freq_base", kGemmaGlobalTheta));
  TRY(read_gguf_scaling(keys, omits_rope && raw.n_layers >= kGemma4BLayers ? 8.0 : 1.0, raw.n_context, raw.rope));
  RawRope local;
  const double theta = TRY(keys.number_or("rope.local.freq_base", kGemmaLocalTheta));
  local.theta = TRY(keys.number_or("rope.freq_base_swa", theta));
  raw.sliding_rope = local;
  return raw;
}

/// The file does not say that its yarn's ramp ends between indices, nor which layers slide: every second one, from the
/// first on.
Result<RawSpec> read_gpt_oss(const Keys& keys, const GgufFacts& facts) {
  RawSpec raw = TRY(read_common(keys, facts));
  raw.qkv_bias = raw.output_bias = true;  // then their absence is named
  raw.sinks = true;
  raw.activation = Activation::kClampedSwiglu;
  raw.window = TRY(keys.integer_or("attention.sliding_window", kGptOssWindow));
  raw.sliding = TRY(read_sliding(keys, raw.n_layers, 2));
  raw.rope.theta = TRY(keys.number_or("rope.freq_base", 150000.0));
  if (keys.has("rope.scaling.type")) {
    TRY(read_gguf_scaling(keys, 1.0, raw.n_context, raw.rope));
    if (raw.rope.yarn) raw.rope.yarn->truncates = false;
  } else {
    raw.rope.yarn = usual_gpt_oss_yarn();
  }
  TRY(read_experts(keys, raw.experts));
  raw.experts.softmax_of_used = true;
  raw.experts.has_biases = true;
  return raw;
}

/// Qwen 3.5. Layers behind the counted ones predict tokens further ahead and are not run; value heads are tiled.
Result<RawSpec> read_qwen35(const Keys& keys, const GgufFacts& facts, bool has_experts) {
  RawSpec raw = TRY(read_common(keys, facts, /*may_rotate_part=*/true));
  TRY(check_rotates(keys, raw));
  const std::int64_t n_further = TRY(keys.integer_or("nextn_predict_layers", 0));
  if (n_further < 0 || n_further > kMaxLayers) {
    return Error(Code::kInvalidArgument, "GGUF header: ", keys.full("nextn_predict_layers"), " is ", n_further);
  }
  raw.n_layers = raw.n_layers > n_further ? raw.n_layers - n_further : 0;  // build_spec names a 0
  raw.rope.theta = TRY(keys.number_or("rope.freq_base", 10000000.0));
  TRY(read_gguf_scaling(keys, 1.0, raw.n_context, raw.rope));
  raw.qk_norm = true;
  raw.output_gate = true;
  raw.recurrent = all_but_every(raw.n_layers, TRY(keys.integer_or("full_attention_interval", 4)));
  RawDelta& delta = raw.delta;
  delta.is_tiled = true;
  delta.n_key_heads = TRY(keys.integer("ssm.group_count"));
  delta.n_value_heads = TRY(keys.integer("ssm.time_step_rank"));
  delta.key_dim = TRY(keys.integer("ssm.state_size"));
  delta.kernel = TRY(keys.integer("ssm.conv_kernel"));
  const std::int64_t inner = TRY(keys.integer("ssm.inner_size"));
  if (delta.n_value_heads < 1 || inner % delta.n_value_heads != 0) {
    return Error(Code::kInvalidArgument, "GGUF header: ", keys.full("ssm.inner_size"), " is ", inner,
                 ", no multiple of ", keys.full("ssm.time_step_rank"), ", ", delta.n_value_heads);
  }
  delta.value_dim = inner / delta.n_value_heads;
  if (!has_experts) return raw;
  TRY(read_experts(keys, raw.experts));
  raw.experts.normalised = true;
  raw.experts.shared_d_ff = TRY(keys.integer("expert_shared_feed_forward_length"));
  return raw;
}

constexpr std::array<std::string_view, 16> kArchitectures = {
    "gemma2", "gemma3", "gemma4",   "gpt-oss", "granite", "llama",     "mistral3", "olmo2",
    "phi3",   "qwen2",  "qwen2moe", "qwen3",   "qwen35",  "qwen35moe", "qwen3moe", "smollm3"};

Result<std::string> find_architecture(const Metadata& metadata) {
  const std::string* architecture = metadata.text("general.architecture");
  if (architecture == nullptr) {
    return Error(Code::kInvalidArgument, "GGUF header: general.architecture is missing; is this a model file?");
  }
  if (std::ranges::find(kArchitectures, std::string_view(*architecture)) != kArchitectures.end()) return *architecture;
  return Error(Code::kUnimplemented, "model architecture \"", *architecture,
               "\" is not supported; supported: ", supported_architectures());
}

Result<RawSpec> read_family(const Keys& keys, std::string_view architecture, const GgufFacts& facts) {
  if (architecture == "gemma2") return read_gemma2(keys, facts);
  if (architecture == "gemma3") return read_gemma3(keys, facts);
  if (architecture == "gemma4") return read_gguf_gemma4(keys, facts);
  if (architecture == "gpt-oss") return read_gpt_oss(keys, facts);
  if (architecture == "granite") return read_granite(keys, facts);
  if (architecture == "mistral3") return read_mistral3(keys, facts);
  if (architecture == "olmo2") return read_olmo2(keys, facts);
  if (architecture == "smollm3") return read_smollm3(keys, facts);
  if (architecture == "phi3") return read_phi3(keys, facts);
  if (architecture == "qwen2") return read_qwen(keys, facts, /*qk_norm=*/false);
  if (architecture == "qwen3") return read_qwen(keys, facts, /*qk_norm=*/true);
  if (architecture == "qwen2moe") return read_qwen_moe(keys, facts, /*qk_norm=*/false);
  if (architecture == "qwen35") return read_qwen35(keys, facts, /*has_experts=*/false);
  if (architecture == "qwen35moe") return read_qwen35(keys, facts, /*has_experts=*/true);
  if (architecture == "qwen3moe") return read_qwen_moe(keys, facts, /*qk_norm=*/true);
  return read_llama(keys, facts);
}

}  // namespace

Status check_gguf_family(const Metadata& metadata) {
  TRY(find_architecture(metadata));
  return {};
}

Result<DecoderSpec> spec_from_gguf(const Metadata& metadata, const GgufFacts& facts) {
  const std::string architecture = TRY(find_architecture(metadata));
  RawSpec raw = TRY(read_family(Keys(metadata, architecture), architecture, facts));
  raw.architecture = architecture;
  if (raw.experts.n_experts > 0 && raw.experts.n_used == 0) {
    return Error(Code::kUnimplemented, "GGUF header: ", architecture, ".expert_count is ", raw.experts.n_experts,
                 ", but models of this architecture with experts are not supported; supported: gemma4, gpt-oss, "
                 "qwen2moe, qwen35moe, qwen3moe");
  }
  DecoderSpec spec = TRY(build_spec(raw));
  const bool is_phi = architecture == "phi3";
  spec.naming = {
      .format = CheckpointFormat::kGguf,
      .prefix = "",
      .head = "output.weight",
      .fused_qkv = is_phi && facts.has_fused_qkv,
      .fused_gate_up = is_phi && !facts.has_separate_gate,
      .packed_experts = (architecture == "gemma4" || architecture == "qwen35moe") && facts.has_packed_experts,
      .has_further_layers = architecture.starts_with("qwen35")};
  return spec;
}

}  // namespace commissure
