#pragma once

#include <string>

#include <fmt/format.h>

#include "model/decoder_spec.h"

namespace commissure::testing {

/// All that a layer says, as a text.
inline std::string text_of(const LayerSpec& layer) {
  const ExpertSpec& experts = layer.experts;
  return fmt::format(
      "heads {}/{}x{} ff {} experts {}/{}x{}+{} {}{}{}{} rope {} window {} scale {} cap {} sinks {} {}{}{}{} values "
      "{}{} of {} norms {}{} residual {} {} act {}",
      layer.heads.n_heads, layer.heads.n_kv_heads, layer.heads.head_dim, layer.d_ff, experts.n_used, experts.n_experts,
      experts.d_ff, experts.shared_d_ff, experts.normalised, experts.softmax_of_used, experts.has_biases,
      experts.beside_dense, layer.rope, layer.window, layer.attention_scale, layer.attention_softcap, layer.sinks,
      layer.qkv_bias, layer.output_bias, layer.qk_norm, layer.wide_qk_norm, layer.value_norm, layer.value_is_key,
      layer.kv_owner, layer.pre_norms, layer.post_norms, layer.residual_scale, layer.output_scale,
      static_cast<int>(layer.activation));
}

/// All that a model says beside its layers and rotations.
inline std::string text_of(const DecoderSpec& spec) {
  return fmt::format("width {} vocabulary {} context {} eps {} logits {} cap {} per layer {} tied {} ropes {}",
                     spec.d_model, spec.n_vocab, spec.n_context, spec.norm_eps, spec.logit_scale, spec.final_softcap,
                     spec.per_layer_width, spec.tied_head, spec.ropes.size());
}

}  // namespace commissure::testing
