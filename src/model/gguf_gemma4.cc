// Gemma 4's text model from a GGUF header.

#include <algorithm>
#include <cmath>
#include <utility>

#include "model/gguf_keys.h"

namespace commissure {
namespace {

constexpr double kGlobalTheta = 1000000.0;
constexpr double kLocalTheta = 10000.0;

Status refuse_below_one(const GgufKeys& keys, std::string_view name, std::int64_t value) {
  if (value > 0) return {};
  return Error(Code::kInvalidArgument, "GGUF header: ", keys.full(name), " is ", value, ", must be at least 1");
}

/// The value that all layers of one kind have in a per-layer list; 0 where no layer is of that kind.
Result<std::int64_t> value_of_kind(const GgufKeys& keys, std::string_view name, const std::vector<std::int64_t>& values,
                                   const std::vector<bool>& sliding, bool is_sliding) {
  std::int64_t found = 0;
  for (std::size_t layer = 0; layer < values.size() && layer < sliding.size(); ++layer) {
    if (sliding[layer] != is_sliding) continue;
    TRY(refuse_below_one(keys, name, values[layer]));
    if (found != 0 && found != values[layer]) {
      return Error(Code::kUnimplemented, "GGUF header: ", keys.full(name), " differs between layers of one kind (",
                   found, " and ", values[layer], "), which is not supported");
    }
    found = values[layer];
  }
  return found;
}

/// Heads of Gemma 4, which differ between sliding layers and those that see all positions.
Status read_gemma4_heads(const GgufKeys& keys, RawSpec& raw) {
  const std::string pattern = keys.full("attention.sliding_window_pattern");
  const auto* list = keys.metadata().find<std::vector<bool>>(pattern);
  if (list == nullptr) {
    return Error(Code::kInvalidArgument, "GGUF header: ", pattern, " is missing or no list of true and false");
  }
  raw.sliding = *list;
  const auto kv_heads = TRY(keys.per_layer("attention.head_count_kv", raw.n_layers, raw.n_heads));
  raw.full_kv_heads = TRY(value_of_kind(keys, "attention.head_count_kv", kv_heads, raw.sliding, false));
  raw.n_kv_heads = TRY(value_of_kind(keys, "attention.head_count_kv", kv_heads, raw.sliding, true));
  if (raw.n_kv_heads == 0) raw.n_kv_heads = raw.full_kv_heads;
  raw.full_head_dim = TRY(keys.integer("attention.key_length"));
  raw.head_dim = TRY(keys.integer_or("attention.key_length_swa", raw.full_head_dim));
  TRY(refuse_below_one(keys, "attention.key_length", raw.full_head_dim));
  if (std::ranges::find(raw.sliding, true) != raw.sliding.end()) {
    TRY(refuse_below_one(keys, "attention.sliding_window", raw.window));
  }
  for (const auto& [name, wanted] : {std::pair{"attention.value_length", raw.full_head_dim},
                                     {"attention.value_length_swa", raw.head_dim},
                                     {"rope.dimension_count", raw.full_head_dim},
                                     {"rope.dimension_count_swa", raw.head_dim}}) {
    const std::int64_t found = TRY(keys.integer_or(name, wanted));
    if (found == wanted) continue;
    return Error(Code::kUnimplemented, "GGUF header: ", keys.full(name), " is ", found, ", the keys' length ", wanted,
                 ": they must be equal");
  }
  return {};
}

}  // namespace

Result<RawSpec> read_gguf_gemma4(const GgufKeys& keys, const GgufFacts& facts) {
  RawSpec raw;
  raw.n_layers = TRY(keys.integer("block_count"));
  raw.d_model = TRY(keys.integer("embedding_length"));
  raw.n_vocab = facts.n_vocab;
  raw.n_context = TRY(keys.integer("context_length"));
  raw.n_heads = TRY(keys.integer("attention.head_count"));
  raw.norm_eps = TRY(keys.number_or("attention.layer_norm_rms_epsilon", -1.0));
  raw.window = TRY(keys.integer_or("attention.sliding_window", 0));
  raw.d_ff_of = TRY(keys.per_layer("feed_forward_length", raw.n_layers, 0));
  raw.d_ff = raw.d_ff_of.empty() ? 1 : raw.d_ff_of.front();
  TRY(read_gemma4_heads(keys, raw));
  raw.experts.n_experts = TRY(keys.integer_or("expert_count", 0));
  if (raw.experts.n_experts != 0) {
    raw.experts.n_used = TRY(keys.integer("expert_used_count"));
    raw.experts.d_ff = TRY(keys.integer("expert_feed_forward_length"));
    TRY(refuse_below_one(keys, "expert_used_count", raw.experts.n_used));
    raw.experts.normalised = raw.experts.beside_dense = true;
  }
  raw.full_value_is_key = facts.full_value_is_key;
  raw.n_sharing = TRY(keys.integer_or("attention.shared_kv_layers", 0));
  raw.per_layer_width = TRY(keys.integer_or("embedding_length_per_layer_input", 0));
  // No key says it: the models with per-layer embeddings are those whose images look back alone.
  raw.image_sight = raw.per_layer_width > 0 ? ImageSight::kNoLayer : ImageSight::kWindowedLayers;
  raw.final_softcap = TRY(keys.number_or("final_logit_softcapping", 0.0));
  raw.tied_head = !facts.has_head;
  raw.attention_scale = 1.0;
  raw.activation = Activation::kGeluTanh;
  raw.qk_norm = raw.value_norm = raw.post_norms = raw.output_scale = true;
  raw.embedding_scale = std::sqrt(static_cast<double>(raw.d_model));
  raw.rope.theta = TRY(keys.number_or("rope.freq_base", kGlobalTheta));
  raw.rope.divisors = facts.rope_divisors;
  // Files from before the divisors were stored mean the same: a quarter of the pairs turns.
  if (raw.rope.divisors.empty()) raw.rope.rotated = 0.25;
  TRY(read_gguf_scaling(keys, 1.0, raw.n_context, raw.rope));
  RawRope local;
  local.theta = TRY(keys.number_or("rope.freq_base_swa", kLocalTheta));
  raw.sliding_rope = local;
  return raw;
}

}  // namespace commissure
