#include "kernels/clamped_swiglu.h"
#include "model/config_fields.h"

namespace commissure {
namespace {

constexpr double kTheta = 150000.0;

/// For files that say nothing.
RawRope usual_rope() {
  RawRope rope;
  rope.theta = kTheta;
  rope.yarn = usual_gpt_oss_yarn();
  return rope;
}

/// The kernels know one value of it.
Status refuse_other(const ConfigFields& fields, const char* name, float known) {
  const double value = TRY(fields.number_or(name, double{known}));
  if (static_cast<float>(value) == known) return {};
  return Error(Code::kUnimplemented, "config.json: ", name, " is ", value, "; only ", known, " is supported");
}

/// One number that libraries have written under either name.
Result<std::int64_t> either(const ConfigFields& fields, const char* name, const char* other, std::int64_t fallback) {
  const std::int64_t second = TRY(fields.integer_or(other, fallback));
  const std::int64_t first = TRY(fields.integer_or(name, second));
  if (fields.find(other) == nullptr || first == second) return first;
  return Error(Code::kInvalidArgument, "config.json: ", name, " is ", first, ", ", other, " ", second);
}

}  // namespace

Result<RawSpec> read_gpt_oss(const ConfigFields& fields) {
  RawSpec raw = TRY(read_llama(fields, {.head_dim = 64, .reads_rope = false}));
  raw.norm_eps = TRY(fields.number_or("rms_norm_eps", 1e-5));
  raw.n_context = TRY(fields.integer_or("max_position_embeddings", 131072));
  raw.n_kv_heads = TRY(fields.integer_or("num_key_value_heads", 8));
  raw.qkv_bias = raw.output_bias = TRY(fields.boolean_or("attention_bias", true));
  raw.sinks = true;
  // Absent means the family's 128; an explicit null means no window.
  raw.window = TRY(fields.integer_or("sliding_window", fields.has("sliding_window") ? 0 : kGptOssWindow));
  const Json* types = fields.find("layer_types");
  raw.sliding = types == nullptr ? all_but_every(raw.n_layers, 2) : TRY(read_layer_types(*types));
  TRY(refuse_partial_rotation(fields));
  const Json* rope = rope_object(fields, "full_attention");
  raw.rope =
      rope == nullptr ? usual_rope() : TRY(read_rope(rope, TRY(fields.number_or("rope_theta", kTheta)), raw.n_context));

  raw.activation = Activation::kClampedSwiglu;
  TRY(refuse_other(fields, "swiglu_alpha", kSwigluAlpha));
  TRY(refuse_other(fields, "swiglu_limit", kSwigluLimit));
  RawExperts& experts = raw.experts;
  experts.n_experts = TRY(either(fields, "num_local_experts", "num_experts", 128));
  experts.n_used = TRY(either(fields, "num_experts_per_tok", "experts_per_token", 4));
  experts.d_ff = raw.d_ff;
  experts.softmax_of_used = true;
  experts.has_biases = true;
  return raw;
}

}  // namespace commissure
