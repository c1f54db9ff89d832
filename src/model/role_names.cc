#include "model/role_names.h"

#include <fmt/core.h>

namespace commissure {
namespace {

bool is_gpt_oss(const DecoderSpec& spec) { return spec.architecture == "gpt_oss" || spec.architecture == "gpt-oss"; }

/// What ends a layer tensor's name.
RoleName role_suffix(TensorRole role) {
  switch (role) {
    case TensorRole::kRouterNorm:
    case TensorRole::kExpertScale: return {".scale", ""};
    case TensorRole::kSinks:
    case TensorRole::kOutputScale: return {".weight", ""};
    case TensorRole::kDeltaRate: return {"", ""};
    case TensorRole::kDeltaDecayBias: return {".bias", ""};
    default: return is_bias(role) ? RoleName{".bias", ".bias"} : RoleName{".weight", ".weight"};
  }
}

/// Of experts and what belongs to them; empty for roles of no layer.
RoleName expert_role_name(TensorRole role, const LayerSpec& layer, bool is_gpt_oss) {
  switch (role) {
    case TensorRole::kRouter:
    case TensorRole::kRouterBias:
      return {"ffn_gate_inp", is_gpt_oss ? "mlp.router" : layer.experts.beside_dense ? "router.proj" : "mlp.gate"};
    case TensorRole::kExpertGate:
    case TensorRole::kExpertGateBias: return {"ffn_gate_exps", "gate_proj"};
    case TensorRole::kExpertUp:
    case TensorRole::kExpertUpBias: return {"ffn_up_exps", "up_proj"};
    case TensorRole::kRouterNorm: return {"ffn_gate_inp", "router.scale"};
    case TensorRole::kExpertScale: return {"ffn_down_exps", "router.per_expert_scale"};
    case TensorRole::kExpertNorm: return {"pre_ffw_norm_2", "pre_feedforward_layernorm_2"};
    case TensorRole::kPostExpertNorm: return {"post_ffw_norm_2", "post_feedforward_layernorm_2"};
    case TensorRole::kPostDenseNorm: return {"post_ffw_norm_1", "post_feedforward_layernorm_1"};
    case TensorRole::kExpertDown: return {"ffn_down_exps", "down_proj"};
    case TensorRole::kExpertDownBias: return {"ffn_down_exps", "mlp.experts.down_proj"};
    case TensorRole::kExpertGateUp: return {"", "gate_up_proj"};
    case TensorRole::kExpertGateUpBias: return {"", "mlp.experts.gate_up_proj"};
    case TensorRole::kSharedRouter: return {"ffn_gate_inp_shexp", "mlp.shared_expert_gate"};
    case TensorRole::kSharedGate: return {"ffn_gate_shexp", "mlp.shared_expert.gate_proj"};
    case TensorRole::kSharedUp: return {"ffn_up_shexp", "mlp.shared_expert.up_proj"};
    case TensorRole::kSharedDown: return {"ffn_down_shexp", "mlp.shared_expert.down_proj"};
    default: return {};
  }
}

}  // namespace

/// Llama's post_attention_layernorm is the norm before the feed-forward; in Gemma 3 the same name is the norm after
/// attention. gpt-oss has some names of its own.
RoleName role_name(TensorRole role, const LayerSpec& layer, bool is_gpt_oss) {
  switch (role) {
    case TensorRole::kAttentionNorm: return {"attn_norm", "input_layernorm"};
    case TensorRole::kQuery:
    case TensorRole::kQueryBias: return {"attn_q", "self_attn.q_proj"};
    case TensorRole::kKey:
    case TensorRole::kKeyBias: return {"attn_k", "self_attn.k_proj"};
    case TensorRole::kValue:
    case TensorRole::kValueBias: return {"attn_v", "self_attn.v_proj"};
    case TensorRole::kQueryNorm: return {"attn_q_norm", "self_attn.q_norm"};
    case TensorRole::kKeyNorm: return {"attn_k_norm", "self_attn.k_norm"};
    case TensorRole::kAttentionOutput:
    case TensorRole::kAttentionOutputBias: return {"attn_output", "self_attn.o_proj"};
    case TensorRole::kPostAttentionNorm: return {"post_attention_norm", "post_attention_layernorm"};
    case TensorRole::kFeedForwardNorm:
      return {is_gpt_oss ? "post_attention_norm" : "ffn_norm",
              layer.post_norms ? "pre_feedforward_layernorm" : "post_attention_layernorm"};
    case TensorRole::kGate: return {"ffn_gate", "mlp.gate_proj"};
    case TensorRole::kUp: return {"ffn_up", "mlp.up_proj"};
    case TensorRole::kDown: return {"ffn_down", "mlp.down_proj"};
    case TensorRole::kPostFeedForwardNorm: return {"post_ffw_norm", "post_feedforward_layernorm"};
    case TensorRole::kSinks: return {"attn_sinks", "self_attn.sinks"};
    case TensorRole::kOutputScale: return {"layer_output_scale", "layer_scalar"};
    case TensorRole::kPerLayerGate: return {"inp_gate", "per_layer_input_gate"};
    case TensorRole::kPerLayerOutput: return {"proj", "per_layer_projection"};
    case TensorRole::kPostPerLayerNorm: return {"post_norm", "post_per_layer_input_norm"};
    case TensorRole::kDeltaChannels: return {"attn_qkv", "linear_attn.in_proj_qkv"};
    case TensorRole::kDeltaGate: return {"attn_gate", "linear_attn.in_proj_z"};
    case TensorRole::kDeltaBeta: return {"ssm_beta", "linear_attn.in_proj_b"};
    case TensorRole::kDeltaDecay: return {"ssm_alpha", "linear_attn.in_proj_a"};
    case TensorRole::kDeltaDecayBias: return {"ssm_dt", "linear_attn.dt_bias"};
    case TensorRole::kDeltaRate: return {"ssm_a", "linear_attn.A_log"};
    case TensorRole::kDeltaConvolution: return {"ssm_conv1d", "linear_attn.conv1d"};
    case TensorRole::kDeltaNorm: return {"ssm_norm", "linear_attn.norm"};
    case TensorRole::kDeltaOutput: return {"ssm_out", "linear_attn.out_proj"};
    default: return expert_role_name(role, layer, is_gpt_oss);
  }
}

std::string layer_tensor_name(const DecoderSpec& spec, TensorRole role, int layer) {
  RoleName name = role_name(role, spec.layers[layer], is_gpt_oss(spec)), end = role_suffix(role);
  if (role == TensorRole::kFeedForwardNorm && spec.architecture.starts_with("qwen35"))
    name.gguf = "post_attention_norm";
  if (spec.naming.format == CheckpointFormat::kGguf) return fmt::format("blk.{}.{}{}", layer, name.gguf, end.gguf);
  return fmt::format("{}layers.{}.{}{}", spec.naming.prefix, layer, name.safetensors, end.safetensors);
}

}  // namespace commissure
