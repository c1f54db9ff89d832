#include "model/tensor_names.h"

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <string_view>
#include <system_error>
#include <unordered_set>
#include <utility>

#include <fmt/ranges.h>

#include "model/role_names.h"
#include "weights/header_reader.h"

namespace commissure {
namespace {

std::string per_layer_name(const DecoderSpec& spec, TensorRole role) {
  const bool is_gguf = spec.naming.format == CheckpointFormat::kGguf;
  const std::string_view name =
      role == TensorRole::kPerLayerTable        ? is_gguf ? "per_layer_token_embd" : "embed_tokens_per_layer"
      : role == TensorRole::kPerLayerProjection ? is_gguf ? "per_layer_model_proj" : "per_layer_model_projection"
      : is_gguf                                 ? "per_layer_proj_norm"
                                                : "per_layer_projection_norm";
  return fmt::format("{}{}.weight", is_gguf ? "" : spec.naming.prefix, name);
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

  void put_attention(const LayerSpec& l) {
    const std::int64_t d = spec_.d_model;
    const std::int64_t q = std::int64_t{l.heads.n_heads} * l.heads.head_dim;
    const std::int64_t kv = std::int64_t{l.heads.n_kv_heads} * l.heads.head_dim;
    const bool owns = l.kv_owner < 0;
    if (spec_.naming.fused_qkv) {
      put_fused("attn_qkv", "self_attn.qkv_proj",
                {{TensorRole::kQuery, q}, {TensorRole::kKey, kv}, {TensorRole::kValue, kv}}, d);
    } else {
      put(TensorRole::kQuery, {l.output_gate ? 2 * q : q, d});
      if (owns) put(TensorRole::kKey, {kv, d});
      if (owns && !l.value_is_key) put(TensorRole::kValue, {kv, d});
    }
    if (l.qkv_bias) put(TensorRole::kQueryBias, {q});
    if (l.qkv_bias) put(TensorRole::kKeyBias, {kv});
    if (l.qkv_bias) put(TensorRole::kValueBias, {kv});
    if (l.sinks) put(TensorRole::kSinks, {l.heads.n_heads});
    if (l.qk_norm) put(TensorRole::kQueryNorm, {l.wide_qk_norm ? q : l.heads.head_dim});
    if (l.qk_norm && owns) put(TensorRole::kKeyNorm, {l.wide_qk_norm ? kv : l.heads.head_dim});
    put(TensorRole::kAttentionOutput, {d, q});
    if (l.output_bias) put(TensorRole::kAttentionOutputBias, {d});
  }

  void put_delta(const DeltaShape& delta) {
    const std::int64_t d = spec_.d_model, n = delta.n_value_heads;
    put(TensorRole::kDeltaChannels, {delta.n_channels(), d});
    put(TensorRole::kDeltaGate, {delta.value_width(), d});
    put(TensorRole::kDeltaBeta, {n, d});
    put(TensorRole::kDeltaDecay, {n, d});
    put(TensorRole::kDeltaDecayBias, {n});
    put(TensorRole::kDeltaRate, {n});
    put(TensorRole::kDeltaConvolution, is_gguf() ? std::vector<std::int64_t>{delta.n_channels(), delta.kernel}
                                                 : std::vector<std::int64_t>{delta.n_channels(), 1, delta.kernel});
    put(TensorRole::kDeltaNorm, {delta.value_dim});
    put(TensorRole::kDeltaOutput, {d, delta.value_width()});
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
    if (experts.beside_dense) {
      put(TensorRole::kRouterNorm, {d});
      put(TensorRole::kExpertScale, {n});
      for (const auto norm : {TensorRole::kExpertNorm, TensorRole::kPostExpertNorm, TensorRole::kPostDenseNorm}) {
        put(norm, {d});
      }
    }
    for (int expert = 0; expert < experts.n_experts; ++expert) {
      if (spec_.naming.packed_experts) {
        const std::string gate_up = packed_name("ffn_gate_up_exps", "gate_up_proj");
        put_rows(gate_up, TensorRole::kExpertGate, expert, {d_ff, d}, {n, 2 * d_ff, d}, 2 * expert);
        put_rows(gate_up, TensorRole::kExpertUp, expert, {d_ff, d}, {n, 2 * d_ff, d}, 2 * expert + 1);
        const std::string down = packed_name("ffn_down_exps", "down_proj");
        put_rows(down, TensorRole::kExpertDown, expert, {d, d_ff}, {n, d, d_ff}, expert);
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
    const std::string_view branch = spec_.layers[layer_].experts.beside_dense ? "" : "mlp.";
    return fmt::format("{}layers.{}.{}experts.{}", spec_.naming.prefix, layer_, branch, name);
  }
  std::string packed_name(std::string_view gguf, std::string_view safetensors) const {
    return is_gguf() ? fmt::format("blk.{}.{}.weight", layer_, gguf) : experts_name(safetensors);
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
    std::string name =
        is_one ? layer_tensor_name(spec_, role, layer_)
               : experts_name(fmt::format("{}.{}.weight", expert, role_name(role, spec_.layers[layer_]).safetensors));
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
  LayerTensors tensors(spec, layer, out);
  const auto put = [&](TensorRole role, std::vector<std::int64_t> shape) { tensors.put(role, std::move(shape)); };
  if (l.pre_norms) put(TensorRole::kAttentionNorm, {d});
  if (l.is_recurrent()) {
    tensors.put_delta(l.delta);
  } else {
    tensors.put_attention(l);
  }
  if (l.post_norms) put(TensorRole::kPostAttentionNorm, {d});
  if (l.pre_norms) put(TensorRole::kFeedForwardNorm, {d});
  if (l.experts.n_experts > 0) tensors.put_experts(l.experts);
  if (l.d_ff > 0) {
    tensors.put_gate_up(TensorRole::kGate, TensorRole::kUp, l.d_ff);
    put(TensorRole::kDown, {d, l.d_ff});
  }
  if (l.post_norms) put(TensorRole::kPostFeedForwardNorm, {d});
  if (const std::int64_t width = spec.per_layer_width; width > 0) {
    put(TensorRole::kPerLayerGate, {width, d});
    put(TensorRole::kPerLayerOutput, {d, width});
    put(TensorRole::kPostPerLayerNorm, {d});
  }
  if (l.output_scale) put(TensorRole::kOutputScale, {1});
}

/// What turns the embedded row into the part's share of per-layer inputs.
void append_per_layer(const DecoderSpec& spec, const ModelPart& part, std::vector<ExpectedTensor>& out) {
  const std::int64_t width = spec.per_layer_width;
  const std::int64_t n_layers = part.last_layer - part.first_layer;
  if (width == 0 || n_layers <= 0) return;
  ExpectedTensor projection = {TensorRole::kPerLayerProjection,
                               -1,
                               per_layer_name(spec, TensorRole::kPerLayerProjection),
                               {n_layers * width, spec.d_model}};
  if (n_layers < spec.n_layers()) {
    projection.whole_shape = {spec.n_layers() * width, spec.d_model};
    projection.first = part.first_layer * width;
  }
  out.push_back(std::move(projection));
  const auto norm = TensorRole::kPerLayerProjectionNorm;
  out.push_back({norm, -1, per_layer_name(spec, norm), {width}});
}

/// Names of every tensor that the model uses or may have unused: layers that read another layer's keys and values have
/// their own in some files.
std::unordered_set<std::string> known_names(const DecoderSpec& spec) {
  const ModelPart whole = {0, spec.n_layers(), true, true};
  std::unordered_set<std::string> names;
  for (ExpectedTensor& tensor : expected_tensors(spec, whole)) names.insert(std::move(tensor.name));
  if (auto table = expected_table(spec, whole)) names.insert(std::move(table->name));
  for (int layer = 0; layer < spec.n_layers(); ++layer) {
    if (spec.layers[layer].kv_owner < 0) continue;
    for (const TensorRole role : {TensorRole::kKey, TensorRole::kValue, TensorRole::kKeyNorm}) {
      names.insert(layer_tensor_name(spec, role, layer));
    }
  }
  return names;
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
  if (expected.role == TensorRole::kPerLayerProjection) return *tensor;  // small: made whole, then cut
  return Error(Code::kUnimplemented, checkpoint.location(), ": tensor ", expected.name,
               " holds several matrices, which are not read out of one that bitsandbytes has quantised");
}

/// What stands before a part's layers, and behind them.
void append_before(const DecoderSpec& spec, const ModelPart& part, std::vector<ExpectedTensor>& out) {
  if (part.has_embedding) {
    out.push_back({TensorRole::kEmbedding, -1, embedding_name(spec), {spec.n_vocab, spec.d_model}});
  }
  append_per_layer(spec, part, out);
}
void append_behind(const DecoderSpec& spec, const ModelPart& part, std::vector<ExpectedTensor>& out) {
  if (!part.has_head) return;
  out.push_back({TensorRole::kFinalNorm, -1, final_norm_name(spec), {spec.d_model}});
  if (spec.tied_head && part.has_embedding) return;
  out.push_back({TensorRole::kHead, -1, head_name(spec), {spec.n_vocab, spec.d_model}});
}

/// Whether a GGUF tensor is of a layer behind the model's last, which predicts tokens further ahead (MTP).
bool is_of_further_layer(const DecoderSpec& spec, std::string_view name) {
  if (!spec.naming.has_further_layers || !name.starts_with("blk.")) return false;
  int layer = 0;
  const char* const end = name.data() + name.size();
  const auto [rest, error] = std::from_chars(name.data() + 4, end, layer);
  return error == std::errc() && rest != end && *rest == '.' && layer >= spec.n_layers();
}

/// Whether a tensor is part of the language model, and so must be used.
bool is_of_text_model(const DecoderSpec& spec, std::string_view name) {
  if (spec.naming.format == CheckpointFormat::kGguf) {
    if (is_of_further_layer(spec, name)) return false;
    // Rotation divisors were read with the header; some files hold an image encoder as well.
    const bool is_long_rope = name == "rope_factors_long.weight" || name == "rope_factors_short.weight";
    return name != "rope_freqs.weight" && !(is_long_rope && spec.architecture == "phi3") &&
           !name.ends_with(".attn_rot_embd.weight") && !name.starts_with("v.") && !name.starts_with("mm.") &&
           !name.starts_with("a.");
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

std::optional<ExpectedTensor> expected_table(const DecoderSpec& spec, const ModelPart& part) {
  const std::int64_t width = spec.per_layer_width, n_layers = part.last_layer - part.first_layer;
  if (width == 0 || n_layers <= 0) return std::nullopt;
  return ExpectedTensor{TensorRole::kPerLayerTable,
                        -1,
                        per_layer_name(spec, TensorRole::kPerLayerTable),
                        {spec.n_vocab, n_layers * width},
                        {spec.n_vocab, spec.n_layers() * width},
                        part.first_layer * width};
}

Result<std::optional<TensorInfo>> table_tensor(const Checkpoint& checkpoint, const DecoderSpec& spec,
                                               const ModelPart& part) {
  const auto expected = expected_table(spec, part);
  if (!expected) return std::optional<TensorInfo>();
  const TensorInfo* table = TRY(find_tensor(checkpoint, *expected));
  if (checkpoint.is_made(*table) || table->dtype == DType::kI32 || table->dtype == DType::kU8) {
    return Error(Code::kUnimplemented, checkpoint.location(), ": tensor ", expected->name, " is stored as ",
                 checkpoint.is_made(*table) ? "bitsandbytes' NF4" : dtype_name(table->dtype),
                 ": a table of embeddings holds floats, or a GGUF's quantised values");
  }
  return std::optional<TensorInfo>(*table);
}

Result<std::uint64_t> table_bytes(const Checkpoint& checkpoint, const DecoderSpec& spec, const ModelPart& part) {
  const auto table = TRY(table_tensor(checkpoint, spec, part));
  if (!table) return std::uint64_t{0};
  const auto n_layers = static_cast<std::uint64_t>(part.last_layer - part.first_layer);
  return table->n_bytes / static_cast<std::uint64_t>(spec.n_layers()) * n_layers;
}

Status refuse_surplus(const Checkpoint& checkpoint, const DecoderSpec& spec) {
  const std::unordered_set<std::string> known = known_names(spec);
  std::vector<std::string> surplus;
  const auto judge = [&](const std::string& name) {
    if (!known.contains(name) && is_of_text_model(spec, name)) surplus.push_back(printable(name));
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
