#include <string>
#include <utility>

#include "model/config_fields.h"

namespace commissure {
namespace {

/// RawSpec::recurrent.
Result<std::vector<bool>> read_kinds(const ConfigFields& fields, std::int64_t n_layers) {
  const Json* types = fields.find("layer_types");
  if (types == nullptr) return all_but_every(n_layers, TRY(fields.integer_or("full_attention_interval", 4)));
  if (!types->is_array()) return Error(Code::kInvalidArgument, "config.json: layer_types must be a list");
  std::vector<bool> recurrent;
  for (const Json& type : *types) {
    if (type != "linear_attention" && type != "full_attention") {
      return Error(Code::kUnimplemented, "config.json: layer_types knows full_attention and linear_attention, found ",
                   dump_json(type));
    }
    recurrent.push_back(type == "linear_attention");
  }
  return recurrent;
}

/// A quarter of every head turns. Images give rows three positions (mrope_section); for text they are one.
Status read_rotation(const ConfigFields& fields, RawSpec& raw) {
  const Json* object = rope_object(fields, "full_attention");
  double share = TRY(fields.number_or("partial_rotary_factor", 0.25));
  Json plain = Json::object();
  if (object != nullptr && object->is_object()) {
    plain = *object;
    share = TRY(ConfigFields(*object).number_or("partial_rotary_factor", share));
    plain.erase("partial_rotary_factor");
  }
  raw.rope = TRY(read_rope(&plain, TRY(fields.number_or("rope_theta", 10000.0)), raw.n_context));
  raw.n_rotated =
      share > 0.0 && share <= 1.0 ? static_cast<std::int64_t>(static_cast<double>(raw.head_dim) * share) : 0;
  if (raw.n_rotated >= 2) return {};
  return Error(Code::kInvalidArgument, "config.json: partial_rotary_factor is ", share, ", which turns ", raw.n_rotated,
               " values of ", raw.head_dim, " in a head, must be 2 at least");
}

/// What no published model has.
Status refuse_variants(const ConfigFields& fields) {
  if (!TRY(fields.boolean_or("attn_output_gate", true))) {
    return Error(Code::kUnimplemented, "config.json: attn_output_gate is false, which is not supported in this family");
  }
  if (TRY(fields.boolean_or("attention_bias", false))) {
    return Error(Code::kUnimplemented, "config.json: attention_bias is true, which is not supported in this family");
  }
  const std::string gate = TRY(fields.text_or("output_gate_type", "swish"));
  if (gate == "swish" || gate == "silu") return {};
  return Error(Code::kUnimplemented, "config.json: output_gate_type \"", gate, "\" is not supported; supported: swish");
}

}  // namespace

Result<RawSpec> read_qwen35(const ConfigFields& fields, bool has_experts) {
  TRY(refuse_variants(fields));
  RawSpec raw = TRY(read_llama(fields, {.head_dim = 256, .reads_rope = false}));
  raw.n_kv_heads = TRY(fields.integer_or("num_key_value_heads", has_experts ? 2 : 4));
  raw.n_context = TRY(fields.integer_or("max_position_embeddings", 32768));
  raw.norm_offset = 1.0;
  raw.qk_norm = true;
  raw.output_gate = true;
  TRY(read_rotation(fields, raw));
  raw.recurrent = TRY(read_kinds(fields, raw.n_layers));
  raw.delta.n_key_heads = TRY(fields.integer_or("linear_num_key_heads", 16));
  raw.delta.n_value_heads = TRY(fields.integer_or("linear_num_value_heads", 32));
  raw.delta.key_dim = TRY(fields.integer_or("linear_key_head_dim", 128));
  raw.delta.value_dim = TRY(fields.integer_or("linear_value_head_dim", 128));
  raw.delta.kernel = TRY(fields.integer_or("linear_conv_kernel_dim", 4));
  if (!has_experts) return raw;
  raw.experts.n_experts = TRY(fields.integer_or("num_experts", 256));
  raw.experts.n_used = TRY(fields.integer_or("num_experts_per_tok", 8));
  raw.experts.d_ff = TRY(fields.integer_or("moe_intermediate_size", 512));
  raw.experts.shared_d_ff = TRY(fields.integer_or("shared_expert_intermediate_size", 512));
  raw.experts.normalised = true;
  return raw;
}

}  // namespace commissure
