#include "model/tensor_names.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>
#include <utility>

#include <fmt/ranges.h>

#include "weights/header_reader.h"

namespace commissure {
namespace {

/// The middle part of a layer tensor's name in both formats; ".weight" or ".bias" follows.
struct RoleName {
  std::string_view gguf;
  std::string_view safetensors;
};

/// Llama's post_attention_layernorm is the norm before the feed-forward; in Gemma 3 the same name is the norm after
/// attention. `post_norms` tells them apart.
RoleName role_name(TensorRole role, bool post_norms) {
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
      return {"ffn_norm", post_norms ? "pre_feedforward_layernorm" : "post_attention_layernorm"};
    case TensorRole::kGate: return {"ffn_gate", "mlp.gate_proj"};
    case TensorRole::kUp: return {"ffn_up", "mlp.up_proj"};
    case TensorRole::kDown: return {"ffn_down", "mlp.down_proj"};
    case TensorRole::kPostFeedForwardNorm: return {"post_ffw_norm", "post_feedforward_layernorm"};
    case TensorRole::kEmbedding:
    case TensorRole::kFinalNorm:
    case TensorRole::kHead: break;
  }
  return {};
}

std::string layer_tensor_name(const DecoderSpec& spec, TensorRole role, int layer) {
  const RoleName name = role_name(role, spec.layers[layer].post_norms);
  const std::string_view kind = is_bias(role) ? "bias" : "weight";
  if (spec.naming.format == CheckpointFormat::kGguf) return fmt::format("blk.{}.{}.{}", layer, name.gguf, kind);
  return fmt::format("{}layers.{}.{}.{}", spec.naming.prefix, layer, name.safetensors, kind);
}

std::string embedding_name(const DecoderSpec& spec) {
  return spec.naming.format == CheckpointFormat::kGguf ? "token_embd.weight"
                                                       : spec.naming.prefix + "embed_tokens.weight";
}

std::string final_norm_name(const DecoderSpec& spec) {
  return spec.naming.format == CheckpointFormat::kGguf ? "output_norm.weight" : spec.naming.prefix + "norm.weight";
}

void append_layer(const DecoderSpec& spec, int layer, std::vector<ExpectedTensor>& out) {
  const LayerSpec& l = spec.layers[layer];
  const std::int64_t d = spec.d_model;
  const std::int64_t q = std::int64_t{l.heads.n_heads} * l.heads.head_dim;
  const std::int64_t kv = std::int64_t{l.heads.n_kv_heads} * l.heads.head_dim;
  const auto put = [&](TensorRole role, std::vector<std::int64_t> shape) {
    out.push_back({role, layer, layer_tensor_name(spec, role, layer), std::move(shape)});
  };
  if (l.pre_norms) put(TensorRole::kAttentionNorm, {d});
  put(TensorRole::kQuery, {q, d});
  put(TensorRole::kKey, {kv, d});
  put(TensorRole::kValue, {kv, d});
  if (l.qkv_bias) put(TensorRole::kQueryBias, {q});
  if (l.qkv_bias) put(TensorRole::kKeyBias, {kv});
  if (l.qkv_bias) put(TensorRole::kValueBias, {kv});
  if (l.qk_norm) put(TensorRole::kQueryNorm, {l.wide_qk_norm ? q : l.heads.head_dim});
  if (l.qk_norm) put(TensorRole::kKeyNorm, {l.wide_qk_norm ? kv : l.heads.head_dim});
  put(TensorRole::kAttentionOutput, {d, q});
  if (l.output_bias) put(TensorRole::kAttentionOutputBias, {d});
  if (l.post_norms) put(TensorRole::kPostAttentionNorm, {d});
  if (l.pre_norms) put(TensorRole::kFeedForwardNorm, {d});
  put(TensorRole::kGate, {l.d_ff, d});
  put(TensorRole::kUp, {l.d_ff, d});
  put(TensorRole::kDown, {d, l.d_ff});
  if (l.post_norms) put(TensorRole::kPostFeedForwardNorm, {d});
}

/// Whether a tensor is part of the language model, and so must be used.
bool is_of_text_model(const DecoderSpec& spec, std::string_view name) {
  if (spec.naming.format == CheckpointFormat::kGguf) {
    // Rotation divisors were read with the header; some files hold an image encoder as well.
    return name != "rope_freqs.weight" && !name.ends_with(".attn_rot_embd.weight") && !name.starts_with("v.") &&
           !name.starts_with("mm.");
  }
  if (name == spec.naming.head) return false;  // of a tied head, saved once more
  return (name.starts_with(spec.naming.prefix) || name.find("lm_head.") != std::string_view::npos) &&
         !name.ends_with("rotary_emb.inv_freq");
}

}  // namespace

std::string head_name(const DecoderSpec& spec) { return spec.tied_head ? embedding_name(spec) : spec.naming.head; }

std::vector<ExpectedTensor> expected_tensors(const DecoderSpec& spec, const ModelPart& part) {
  std::vector<ExpectedTensor> out;
  const std::vector<std::int64_t> table = {spec.n_vocab, spec.d_model};
  if (part.has_embedding) out.push_back({TensorRole::kEmbedding, -1, embedding_name(spec), table});
  for (int layer = part.first_layer; layer < part.last_layer; ++layer) append_layer(spec, layer, out);
  if (part.has_head) {
    out.push_back({TensorRole::kFinalNorm, -1, final_norm_name(spec), {spec.d_model}});
    if (!spec.tied_head) {
      out.push_back({TensorRole::kHead, -1, spec.naming.head, table});
    } else if (!part.has_embedding) {
      out.push_back({TensorRole::kHead, -1, embedding_name(spec), table});
    }
  }
  return out;
}

Result<std::vector<TensorInfo>> part_tensors(const Checkpoint& checkpoint, const DecoderSpec& spec,
                                             const ModelPart& part) {
  std::vector<TensorInfo> found;
  for (const ExpectedTensor& expected : expected_tensors(spec, part)) {
    const TensorInfo* tensor = checkpoint.find(expected.name);
    if (tensor == nullptr) {
      if (const std::string dtype = checkpoint.unsupported_dtype(expected.name); !dtype.empty()) {
        return Error(Code::kUnimplemented, checkpoint.location(), ": tensor ", expected.name, " has dtype ", dtype,
                     ", which is not supported; supported: F32, F16, BF16");
      }
      return Error(Code::kInvalidArgument, checkpoint.location(), ": tensor ", expected.name, " is missing (expected [",
                   fmt::format("{}", fmt::join(expected.shape, ", ")),
                   "]); the file is incomplete or of another model");
    }
    if (tensor->shape != expected.shape) {
      return Error(Code::kInvalidArgument, checkpoint.location(), ": tensor ", expected.name, " has shape [",
                   fmt::format("{}", fmt::join(tensor->shape, ", ")), "], its configuration asks for [",
                   fmt::format("{}", fmt::join(expected.shape, ", ")), "]");
    }
    found.push_back(*tensor);
  }
  return found;
}

Status refuse_surplus(const Checkpoint& checkpoint, const DecoderSpec& spec) {
  std::unordered_set<std::string> wanted;
  for (ExpectedTensor& tensor : expected_tensors(spec, {0, spec.n_layers(), true, true})) {
    wanted.insert(std::move(tensor.name));
  }
  std::vector<std::string> surplus;
  const auto judge = [&](const std::string& name) {
    if (!wanted.contains(name) && is_of_text_model(spec, name)) surplus.push_back(printable(name));
  };
  for (const TensorInfo& tensor : checkpoint.tensors()) judge(tensor.name);
  for (const auto& [name, dtype] : checkpoint.unsupported_dtypes()) judge(name);
  if (surplus.empty()) return {};
  constexpr std::size_t kNamed = 5;
  const std::size_t n_named = std::min(surplus.size(), kNamed);
  return Error(
      Code::kUnimplemented, checkpoint.location(), ": the architecture ", spec.architecture, " with ", spec.n_layers(),
      " layers has no use for ", surplus.size(), " tensors: ",
      fmt::format("{}", fmt::join(surplus.begin(), surplus.begin() + static_cast<std::ptrdiff_t>(n_named), ", ")),
      surplus.size() > kNamed ? ", ..." : "", "; without them answers would be wrong");
}

}  // namespace commissure
