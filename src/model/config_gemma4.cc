// Gemma 4's text model from config.json; src/vision reads the image encoder, and audio has no tower.

#include <algorithm>

#include "model/config_fields.h"

namespace commissure {
namespace {

/// What would change answers and is not computed.
Status refuse_what_is_not_done(const ConfigFields& fields) {
  if (TRY(fields.boolean_or("attention_bias", false))) {
    return Error(Code::kUnimplemented, "config.json: attention_bias is not supported in this family");
  }
  const std::string activation = TRY(fields.text_or("hidden_activation", "gelu_pytorch_tanh"));
  if (activation != "gelu_pytorch_tanh") {
    return Error(Code::kUnimplemented, "config.json: hidden_activation \"", activation, "\" is not supported");
  }
  if (const Json* mask = fields.find("use_bidirectional_attention");
      mask != nullptr && *mask != "vision" && *mask != false) {
    return Error(Code::kUnimplemented, "config.json: use_bidirectional_attention is ", dump_json(*mask),
                 ": only models that look back alone are supported, and \"vision\"");
  }
  return {};
}

/// Five sliding layers to one that sees all positions where the file says nothing. The last sees all whatever the file
/// says, as in transformers.
Result<std::vector<bool>> read_sliding(const ConfigFields& fields, std::int64_t n_layers) {
  const Json* types = fields.find("layer_types");
  std::vector<bool> sliding = types != nullptr ? TRY(read_layer_types(*types)) : all_but_every(n_layers, 6);
  if (!sliding.empty()) sliding.back() = false;
  return sliding;
}

/// In RawSpec 0 stands for "as in other layers", so a file may not say it.
Result<std::int64_t> positive_or(const ConfigFields& fields, std::string_view name, std::int64_t fallback) {
  const std::int64_t value = TRY(fields.integer_or(name, fallback));
  if (value > 0 || fields.find(name) == nullptr) return value;
  return Error(Code::kInvalidArgument, "config.json: ", name, " is ", value, ", must be at least 1");
}

/// Rotations: one for each kind of layer, or the family's own where the file has no rope_parameters at all.
Status read_ropes(const ConfigFields& fields, RawSpec& raw) {
  RawRope local;
  raw.rope.theta = 1000000.0;
  raw.rope.rotated = 0.25;
  local.theta = 10000.0;
  if (const Json* both = fields.find("rope_parameters"); both != nullptr) {
    for (const auto& [kind, rope] : {std::pair{"full_attention", &raw.rope}, {"sliding_attention", &local}}) {
      const Json* own = find_member(*both, kind);
      if (own == nullptr) {
        return Error(Code::kInvalidArgument, "config.json: rope_parameters has no ", kind);
      }
      *rope = TRY(read_rope(own, rope->theta, raw.n_context));
    }
  }
  raw.sliding_rope = local;
  return {};
}

/// Layers that share keys and values are twice as wide in some sizes. Numbers that build_spec refuses are left to it.
Status read_widths(const ConfigFields& fields, RawSpec& raw) {
  constexpr std::int64_t kMost = 1 << 20;
  if (!TRY(fields.boolean_or("use_double_wide_mlp", false))) return {};
  if (raw.n_layers > kMaxLayers || raw.n_sharing < 0 || raw.n_sharing > raw.n_layers || raw.d_ff < 1 ||
      raw.d_ff > kMost) {
    return {};
  }
  for (std::int64_t layer = 0; layer < raw.n_layers; ++layer) {
    raw.d_ff_of.push_back(layer >= raw.n_layers - raw.n_sharing ? 2 * raw.d_ff : raw.d_ff);
  }
  return {};
}

/// Heads of layers that see all positions. Newer files list what differs layer by layer.
Status read_full_heads(const ConfigFields& fields, RawSpec& raw) {
  const Json* by_layer = fields.find("per_layer_config");
  if (by_layer == nullptr) {
    raw.full_head_dim = TRY(positive_or(fields, "global_head_dim", 512));
    // A number of heads of their own is that of layers whose values are their keys.
    if (raw.full_value_is_key) {
      raw.full_kv_heads = TRY(positive_or(fields, "num_global_key_value_heads", raw.n_kv_heads));
    }
    return {};
  }
  if (!by_layer->is_object()) return Error(Code::kInvalidArgument, "config.json: per_layer_config must be an object");
  for (std::size_t layer = 0; layer < raw.sliding.size(); ++layer) {
    const Json* own = find_member(*by_layer, std::to_string(layer));
    const Json none = Json::object();
    const ConfigFields heads(own != nullptr ? *own : none);
    for (const auto& [name, value] : (own != nullptr && own->is_object() ? *own : none).items()) {
      if (name == "head_dim" || name == "num_key_value_heads") continue;
      return Error(Code::kUnimplemented, "config.json: per_layer_config gives layer ", layer, " a ", name,
                   " of its own, which is not supported");
    }
    const std::int64_t head_dim = TRY(positive_or(heads, "head_dim", raw.head_dim));
    const std::int64_t kv_heads = TRY(positive_or(heads, "num_key_value_heads", raw.n_kv_heads));
    const bool is_first_full = !raw.sliding[layer] && raw.full_head_dim == 0;
    if (is_first_full) {
      raw.full_head_dim = head_dim;
      raw.full_kv_heads = kv_heads;
    }
    if (head_dim == (raw.sliding[layer] ? raw.head_dim : raw.full_head_dim) &&
        kv_heads == (raw.sliding[layer] ? raw.n_kv_heads : raw.full_kv_heads)) {
      continue;
    }
    return Error(Code::kUnimplemented, "config.json: per_layer_config gives layer ", layer, " a head_dim of ", head_dim,
                 " and ", kv_heads, " key/value heads, unlike other layers of its kind, which is not supported");
  }
  return {};
}

/// Experts beside the dense feed-forward of every layer.
Status read_experts(const ConfigFields& fields, RawSpec& raw) {
  if (!TRY(fields.boolean_or("enable_moe_block", false))) return {};
  RawExperts& experts = raw.experts;
  for (const auto& [name, value] : {std::pair{"num_experts", &experts.n_experts},
                                    {"top_k_experts", &experts.n_used},
                                    {"moe_intermediate_size", &experts.d_ff}}) {
    *value = TRY(fields.integer(name));
    if (*value < 1) return Error(Code::kInvalidArgument, "config.json: ", name, " is ", *value, ", must be at least 1");
  }
  experts.normalised = experts.beside_dense = true;
  return {};
}

/// The second table has a vocabulary of its own in config.json; it is the same in every published size.
Status read_per_layer(const ConfigFields& fields, std::int64_t default_width, RawSpec& raw) {
  raw.per_layer_width = TRY(fields.integer_or("hidden_size_per_layer_input", default_width));
  const std::int64_t n_vocab = TRY(fields.integer_or("vocab_size_per_layer_input", raw.n_vocab));
  if (raw.per_layer_width <= 0 || n_vocab == raw.n_vocab) return {};
  return Error(Code::kUnimplemented, "config.json: vocab_size_per_layer_input is ", n_vocab, " and vocab_size ",
               raw.n_vocab, ": tables of two sizes are not supported");
}

}  // namespace

Result<RawSpec> read_gemma4(const ConfigFields& fields, DType embedding_dtype) {
  TRY(refuse_what_is_not_done(fields));
  // The 12B's kind: no per-layer embeddings, and other numbers where its file says none.
  const bool is_unified = TRY(fields.text_or("model_type", "")) == "gemma4_unified_text";
  RawSpec raw;
  raw.n_layers = TRY(fields.integer("num_hidden_layers"));
  raw.d_model = TRY(fields.integer("hidden_size"));
  raw.d_ff = TRY(fields.integer("intermediate_size"));
  raw.norm_eps = TRY(fields.number_or("rms_norm_eps", 1e-6));
  raw.n_vocab = TRY(fields.integer_or("vocab_size", 262144));
  raw.n_context = TRY(fields.integer_or("max_position_embeddings", is_unified ? 262144 : 131072));
  raw.n_heads = TRY(fields.integer_or("num_attention_heads", 8));
  raw.n_kv_heads = TRY(fields.integer_or("num_key_value_heads", 4));
  raw.head_dim = TRY(fields.integer_or("head_dim", 256));
  raw.full_value_is_key = TRY(fields.boolean_or("attention_k_eq_v", false));
  raw.window = TRY(positive_or(fields, "sliding_window", is_unified ? 1024 : 512));
  raw.tied_head = TRY(fields.boolean_or("tie_word_embeddings", true));
  raw.final_softcap = TRY(fields.number_or("final_logit_softcapping", 0.0));
  raw.attention_scale = 1.0;
  raw.activation = Activation::kGeluTanh;
  raw.qk_norm = raw.value_norm = raw.post_norms = raw.output_scale = true;
  raw.embedding_scale = rounded_embedding_scale(raw.d_model, embedding_dtype);

  raw.sliding = TRY(read_sliding(fields, raw.n_layers));
  TRY(read_full_heads(fields, raw));
  TRY(read_ropes(fields, raw));
  raw.n_sharing = TRY(fields.integer_or("num_kv_shared_layers", 0));
  TRY(read_widths(fields, raw));
  TRY(read_experts(fields, raw));
  TRY(read_per_layer(fields, is_unified ? 0 : 256, raw));
  const Json* sight = fields.find("use_bidirectional_attention");
  raw.image_sight = sight != nullptr && *sight == "vision" ? ImageSight::kWindowedLayers : ImageSight::kNoLayer;
  return raw;
}

}  // namespace commissure
