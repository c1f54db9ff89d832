#include "model/tensor_names.h"

#include <algorithm>
#include <initializer_list>
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

bool is_gpt_oss(const DecoderSpec& spec) { return spec.architecture == "gpt_oss" || spec.architecture == "gpt-oss"; }

/// Llama's post_attention_layernorm is the norm before the feed-forward; in Gemma 3 the same name is the norm after
/// attention. `post_norms` tells them apart. gpt-oss has some names of its own.
RoleName role_name(TensorRole role, bool post_norms, bool is_gpt_oss = false) {
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
              post_norms ? "pre_feedforward_layernorm" : "post_attention_layernorm"};
    case TensorRole::kGate: return {"ffn_gate", "mlp.gate_proj"};
    case TensorRole::kUp: return {"ffn_up", "mlp.up_proj"};
    case TensorRole::kDown: return {"ffn_down", "mlp.down_proj"};
    case TensorRole::kPostFeedForwardNorm: return {"post_ffw_norm", "post_feedforward_layernorm"};
    case TensorRole::kRouter:
    case TensorRole::kRouterBias: return {"ffn_gate_inp", is_gpt_oss ? "mlp.router" : "mlp.gate"};
    case TensorRole::kExpertGate:
    case TensorRole::kExpertGateBias: return {"ffn_gate_exps", "gate_proj"};
    case TensorRole::kExpertUp:
    case TensorRole::kExpertUpBias: return {"ffn_up_exps", "up_proj"};
    case TensorRole::kExpertDown: return {"ffn_down_exps", "down_proj"};
    case TensorRole::kExpertDownBias: return {"ffn_down_exps", "mlp.experts.down_proj"};
    case TensorRole::kExpertGateUp: return {"", "gate_up_proj"};
    case TensorRole::kExpertGateUpBias: return {"", "mlp.experts.gate_up_proj"};
    case TensorRole::kSinks: return {"attn_sinks", "self_attn.sinks"};
    case TensorRole::kSharedRouter: return {"ffn_gate_inp_shexp", "mlp.shared_expert_gate"};
    case TensorRole::kSharedGate: return {"ffn_gate_shexp", "mlp.shared_expert.gate_proj"};
    case TensorRole::kSharedUp: return {"ffn_up_shexp", "mlp.shared_expert.up_proj"};
    case TensorRole::kSharedDown: return {"ffn_down_shexp", "mlp.shared_expert.down_proj"};
    case TensorRole::kEmbedding:
    case TensorRole::kFinalNorm:
    case TensorRole::kHead: break;
  }
  return {};
}

std::string layer_tensor_name(const DecoderSpec& spec, TensorRole role, int layer) {
  const RoleName name = role_name(role, spec.layers[layer].post_norms, is_gpt_oss(spec));
  const std::string_view kind = is_bias(role) ? "bias" : "weight";
  if (spec.naming.format == CheckpointFormat::kGguf) return fmt::format("blk.{}.{}.{}", layer, name.gguf, kind);
  if (role == TensorRole::kSinks) return fmt::format("{}layers.{}.{}", spec.naming.prefix, layer, name.safetensors);
  return fmt::format("{}layers.{}.{}.{}", spec.naming.prefix, layer, name.safetensors, kind);
}

std::string embedding_name(const DecoderSpec& spec) {
  return spec.naming.format == CheckpointFormat::kGguf ? "token_embd.weight"
                                                       : spec.naming.prefix + "embed_tokens.weight";
}

std::string final_norm_name(const DecoderSpec& spec) {
  return spec.naming.format == CheckpointFormat::kGguf ? "output_norm.weight" : spec.naming.prefix + "norm.weight";
}

/// One layer's tensors in the order they are used.
class LayerTensors {
 public:
  LayerTensors(const DecoderSpec& spec, int layer, std::vector<ExpectedTensor>& out)
      : spec_(spec), layer_(layer), out_(out) {}

  void put(TensorRole role, std::vector<std::int64_t> shape) {
    out_.push_back({role, layer_, layer_tensor_name(spec_, role, layer_), std::move(shape)});
  }

  /// Matrices [n_rows, n_cols] that the file holds as the rows of one, in this order.
  void put_fused(std::string_view gguf, std::string_view safetensors,
                 std::initializer_list<std::pair<TensorRole, std::int64_t>> parts, std::int64_t n_cols) {
    std::int64_t n_rows = 0, first = 0;
    for (const auto& [role, n] : parts) n_rows += n;
    const std::string name = spec_.naming.format == CheckpointFormat::kGguf
                                 ? fmt::format("blk.{}.{}.weight", layer_, gguf)
                                 : fmt::format("{}layers.{}.{}.weight", spec_.naming.prefix, layer_, safetensors);
    for (const auto& [role, n] : parts) {
      out_.push_back({role, layer_, name, {n, n_cols}, {n_rows, n_cols}, first});
      first += n;
    }
  }

  void put_gate_up(TensorRole gate, TensorRole up, std::int64_t d_ff) {
    const std::int64_t d = spec_.d_model;
    if (spec_.naming.fused_gate_up) return put_fused("ffn_up", "mlp.gate_up_proj", {{gate, d_ff}, {up, d_ff}}, d);
    put(gate, {d_ff, d});
    put(up, {d_ff, d});
  }

  void put_experts(const ExpertSpec& experts) {
    const std::int64_t d = spec_.d_model, n = experts.n_experts, d_ff = experts.d_ff;
    put(TensorRole::kRouter, {n, d});
    if (experts.has_biases) put(TensorRole::kRouterBias, {n});
    for (int expert = 0; expert < experts.n_experts; ++expert) {
      if (spec_.naming.packed_experts) {
        const std::string gate_up = experts_name("gate_up_proj");
        put_rows(gate_up, TensorRole::kExpertGate, expert, {d_ff, d}, {n, 2 * d_ff, d}, 2 * expert);
        put_rows(gate_up, TensorRole::kExpertUp, expert, {d_ff, d}, {n, 2 * d_ff, d}, 2 * expert + 1);
        put_rows(experts_name("down_proj"), TensorRole::kExpertDown, expert, {d, d_ff}, {n, d, d_ff}, expert);
      } else if (spec_.naming.fused_experts) {
        put_expert(TensorRole::kExpertGateUp, expert, n, {2 * d_ff, d});
        put_expert(TensorRole::kExpertDown, expert, n, {d, d_ff});
      } else {
        put_expert(TensorRole::kExpertGate, expert, n, {d_ff, d});
        put_expert(TensorRole::kExpertUp, expert, n, {d_ff, d});
        put_expert(TensorRole::kExpertDown, expert, n, {d, d_ff});
      }
    }
    if (experts.has_biases) put_expert_biases(experts);
    if (experts.shared_d_ff == 0) return;
    put(TensorRole::kSharedRouter, is_gguf() ? std::vector<std::int64_t>{d} : std::vector<std::int64_t>{1, d});
    put(TensorRole::kSharedGate, {experts.shared_d_ff, d});
    put(TensorRole::kSharedUp, {experts.shared_d_ff, d});
    put(TensorRole::kSharedDown, {d, experts.shared_d_ff});
  }

 private:
  bool is_gguf() const { return spec_.naming.format == CheckpointFormat::kGguf; }
  std::string experts_name(std::string_view name) const {
    return fmt::format("{}layers.{}.mlp.experts.{}", spec_.naming.prefix, layer_, name);
  }

  void put_expert_biases(const ExpertSpec& experts) {
    const std::int64_t n = experts.n_experts, d_ff = experts.d_ff;
    if (spec_.naming.fused_experts) {
      put(TensorRole::kExpertGateUpBias, {n, 2 * d_ff});
    } else {
      put(TensorRole::kExpertGateBias, {n, d_ff});
      put(TensorRole::kExpertUpBias, {n, d_ff});
    }
    put(TensorRole::kExpertDownBias, {n, spec_.d_model});
  }

  /// The `index`-th block of rows in a tensor of all experts.
  void put_rows(std::string name, TensorRole role, int expert, std::vector<std::int64_t> shape,
                std::vector<std::int64_t> whole, int index) {
    const std::int64_t first = index * shape[0];
    out_.push_back({role, layer_, std::move(name), std::move(shape), std::move(whole), first, expert});
  }

  /// In GGUF all experts' matrices of a kind are one tensor, in safetensors each is its own.
  void put_expert(TensorRole role, int expert, std::int64_t n_experts, std::vector<std::int64_t> shape) {
    const bool is_one = is_gguf();
    std::vector<std::int64_t> whole = {n_experts, shape[0], shape[1]};
    std::string name = is_one ? layer_tensor_name(spec_, role, layer_)
                              : experts_name(fmt::format("{}.{}.weight", expert, role_name(role, false).safetensors));
    if (is_one) return put_rows(std::move(name), role, expert, std::move(shape), std::move(whole), expert);
    out_.push_back({role, layer_, std::move(name), std::move(shape), {}, 0, expert});
  }

  const DecoderSpec& spec_;
  const int layer_;
  std::vector<ExpectedTensor>& out_;
};

void append_layer(const DecoderSpec& spec, int layer, std::vector<ExpectedTensor>& out) {
  const LayerSpec& l = spec.layers[layer];
  const std::int64_t d = spec.d_model;
  const std::int64_t q = std::int64_t{l.heads.n_heads} * l.heads.head_dim;
  const std::int64_t kv = std::int64_t{l.heads.n_kv_heads} * l.heads.head_dim;
  LayerTensors tensors(spec, layer, out);
  const auto put = [&](TensorRole role, std::vector<std::int64_t> shape) { tensors.put(role, std::move(shape)); };
  if (l.pre_norms) put(TensorRole::kAttentionNorm, {d});
  if (spec.naming.fused_qkv) {
    tensors.put_fused("attn_qkv", "self_attn.qkv_proj",
                      {{TensorRole::kQuery, q}, {TensorRole::kKey, kv}, {TensorRole::kValue, kv}}, d);
  } else {
    put(TensorRole::kQuery, {q, d});
    put(TensorRole::kKey, {kv, d});
    put(TensorRole::kValue, {kv, d});
  }
  if (l.qkv_bias) put(TensorRole::kQueryBias, {q});
  if (l.qkv_bias) put(TensorRole::kKeyBias, {kv});
  if (l.qkv_bias) put(TensorRole::kValueBias, {kv});
  if (l.sinks) put(TensorRole::kSinks, {l.heads.n_heads});
  if (l.qk_norm) put(TensorRole::kQueryNorm, {l.wide_qk_norm ? q : l.heads.head_dim});
  if (l.qk_norm) put(TensorRole::kKeyNorm, {l.wide_qk_norm ? kv : l.heads.head_dim});
  put(TensorRole::kAttentionOutput, {d, q});
  if (l.output_bias) put(TensorRole::kAttentionOutputBias, {d});
  if (l.post_norms) put(TensorRole::kPostAttentionNorm, {d});
  if (l.pre_norms) put(TensorRole::kFeedForwardNorm, {d});
  if (l.experts.n_experts > 0) tensors.put_experts(l.experts);
  if (l.d_ff > 0) {
    tensors.put_gate_up(TensorRole::kGate, TensorRole::kUp, l.d_ff);
    put(TensorRole::kDown, {d, l.d_ff});
  }
  if (l.post_norms) put(TensorRole::kPostFeedForwardNorm, {d});
}

Error missing(const Checkpoint& checkpoint, const ExpectedTensor& expected) {
  if (const std::string dtype = checkpoint.unsupported_dtype(expected.name); !dtype.empty()) {
    return Error(Code::kUnimplemented, checkpoint.location(), ": tensor ", expected.name, " has dtype ", dtype,
                 ", which is not supported; supported: F32, F16, BF16");
  }
  return Error(Code::kInvalidArgument, checkpoint.location(), ": tensor ", expected.name, " is missing (expected ",
               shape_text(expected.stored_shape()), "); the file is incomplete or of another model");
}

/// The checkpoint's entry, whole, its shape checked.
Result<const TensorInfo*> find_tensor(const Checkpoint& checkpoint, const ExpectedTensor& expected) {
  const TensorInfo* tensor = checkpoint.find(expected.name);
  if (tensor == nullptr) return missing(checkpoint, expected);
  if (tensor->shape == expected.stored_shape()) return tensor;
  return Error(Code::kInvalidArgument, checkpoint.location(), ": tensor ", expected.name, " has shape ",
               shape_text(tensor->shape), ", its configuration asks for ", shape_text(expected.stored_shape()));
}

/// Rows of a larger tensor as a tensor of their own.
TensorInfo rows_of(const TensorInfo& whole, const ExpectedTensor& rows) {
  TensorInfo slice = whole;
  const std::uint64_t n_rows = static_cast<std::uint64_t>(whole.n_elements() / whole.shape.back());
  const std::uint64_t row_bytes = whole.n_bytes / n_rows;
  slice.name = fmt::format("{}[{}:{}]", whole.name, rows.first, rows.first + rows.shape[0]);
  slice.shape = rows.shape;
  slice.offset += static_cast<std::uint64_t>(rows.first) * row_bytes;
  slice.n_bytes = static_cast<std::uint64_t>(rows.shape[0]) * row_bytes;
  return slice;
}

/// The checkpoint's entry for the tensor.
Result<TensorInfo> find_part(const Checkpoint& checkpoint, const ExpectedTensor& expected) {
  const TensorInfo* tensor = TRY(find_tensor(checkpoint, expected));
  if (expected.whole_shape.empty()) return *tensor;
  if (!checkpoint.is_made(*tensor)) return rows_of(*tensor, expected);
  return Error(Code::kUnimplemented, checkpoint.location(), ": tensor ", expected.name,
               " holds several matrices, which are not read out of one that bitsandbytes has quantised");
}

/// What stands before a part's layers, and behind them.
void append_before(const DecoderSpec& spec, const ModelPart& part, std::vector<ExpectedTensor>& out) {
  if (!part.has_embedding) return;
  out.push_back({TensorRole::kEmbedding, -1, embedding_name(spec), {spec.n_vocab, spec.d_model}});
}
void append_behind(const DecoderSpec& spec, const ModelPart& part, std::vector<ExpectedTensor>& out) {
  if (!part.has_head) return;
  out.push_back({TensorRole::kFinalNorm, -1, final_norm_name(spec), {spec.d_model}});
  if (spec.tied_head && part.has_embedding) return;
  out.push_back({TensorRole::kHead, -1, head_name(spec), {spec.n_vocab, spec.d_model}});
}

/// Whether a tensor is part of the language model, and so must be used.
bool is_of_text_model(const DecoderSpec& spec, std::string_view name) {
  if (spec.naming.format == CheckpointFormat::kGguf) {
    // Rotation divisors were read with the header; some files hold an image encoder as well.
    const bool is_long_rope = name == "rope_factors_long.weight" || name == "rope_factors_short.weight";
    return name != "rope_freqs.weight" && !(is_long_rope && spec.architecture == "phi3") &&
           !name.ends_with(".attn_rot_embd.weight") && !name.starts_with("v.") && !name.starts_with("mm.");
  }
  if (name == spec.naming.head) return false;  // of a tied head, saved once more
  return (name.starts_with(spec.naming.prefix) || name.find("lm_head.") != std::string_view::npos) &&
         !name.ends_with("rotary_emb.inv_freq");
}

}  // namespace

std::string head_name(const DecoderSpec& spec) { return spec.tied_head ? embedding_name(spec) : spec.naming.head; }

std::vector<ExpectedTensor> expected_tensors(const DecoderSpec& spec, const ModelPart& part) {
  std::vector<ExpectedTensor> out;
  append_before(spec, part, out);
  for (int layer = part.first_layer; layer < part.last_layer; ++layer) append_layer(spec, layer, out);
  append_behind(spec, part, out);
  return out;
}

Result<std::vector<TensorInfo>> part_tensors(const Checkpoint& checkpoint, const DecoderSpec& spec,
                                             const ModelPart& part) {
  std::vector<TensorInfo> found;
  std::vector<ExpectedTensor> expected;  // of a layer at a time
  const auto find_expected = [&]() -> Status {
    for (const ExpectedTensor& tensor : expected) found.push_back(TRY(find_part(checkpoint, tensor)));
    expected.clear();
    return {};
  };
  append_before(spec, part, expected);
  TRY(find_expected());
  for (int layer = part.first_layer; layer < part.last_layer; ++layer) {
    append_layer(spec, layer, expected);
    TRY(find_expected());
  }
  append_behind(spec, part, expected);
  TRY(find_expected());
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
