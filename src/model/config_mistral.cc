// Mistral and Ministral 3, as config.json describes them.

#include "model/config_fields.h"

namespace commissure {
namespace {

/// Positions of the published models before yarn.
constexpr double kMinistral3Context = 16384.0;

}  // namespace

Result<RawSpec> read_mistral(const ConfigFields& fields) {
  RawSpec raw = TRY(read_llama(fields));
  raw.n_kv_heads = TRY(fields.integer_or("num_key_value_heads", 8));
  // Absent means the family's default of 4096; an explicit null means no window.
  raw.window = TRY(fields.integer_or("sliding_window", fields.has("sliding_window") ? 0 : 4096));
  return raw;
}

Result<RawSpec> read_ministral3(const ConfigFields& fields) {
  RawSpec raw = TRY(read_llama(fields, {.head_dim = 128, .rope_theta = 1000000.0}));
  raw.norm_eps = TRY(fields.number_or("rms_norm_eps", 1e-5));
  raw.n_kv_heads = TRY(fields.integer_or("num_key_value_heads", 8));
  raw.window = TRY(fields.integer_or("sliding_window", 0));
  const Json* rope = rope_object(fields, "full_attention");
  if (rope == nullptr) {
    raw.rope.yarn = YarnScaling{.factor = 16.0, .original_context = kMinistral3Context};
    raw.rope.query_growth = 0.1;
    raw.rope.query_growth_context = kMinistral3Context;
    return raw;
  }
  const ConfigFields scaling(*rope);
  raw.rope.query_growth = TRY(scaling.number_or("llama_4_scaling_beta", 0.0));
  raw.rope.query_growth_context = TRY(scaling.number_or("original_max_position_embeddings", 0.0));
  return raw;
}

}  // namespace commissure
