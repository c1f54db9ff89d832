#include "model/raw_spec.h"

#include <cmath>
#include <string_view>

#include "core/index.h"

namespace commissure {
namespace {

// Far above every published model, and low enough that no product of two of them overflows 64 bits.
constexpr std::int64_t kMaxWidth = 1 << 17;
constexpr std::int64_t kMaxHeads = 1024;
constexpr std::int64_t kMaxHeadDim = 1024;
constexpr std::int64_t kMaxFeedForward = 1 << 20;
constexpr std::int64_t kMaxExperts = 4096;
constexpr std::int64_t kMaxModelExperts = 1 << 16;  // every one has names and shapes in memory
constexpr std::int64_t kMaxPerLayerWidth = 1 << 16;
constexpr std::int64_t kMaxVocab = 1 << 24;
constexpr std::int64_t kMaxContext = 1 << 26;

Status check_range(std::string_view name, std::int64_t value, std::int64_t low, std::int64_t high) {
  if (value >= low && value <= high) return {};
  return Error(Code::kInvalidArgument, "model configuration: ", name, " is ", value, ", must be ", low, " to ", high);
}

Status check_range(std::string_view name, double value, double low, double high) {
  if (value >= low && value <= high) return {};  // false for NaN too
  return Error(Code::kInvalidArgument, "model configuration: ", name, " is ", value, ", must be ", low, " to ", high);
}

/// Outside this range a value divided by the cap, or the product with it, leaves what f32 kernels compute.
Status check_softcap(std::string_view name, double cap) {
  if (cap == 0.0) return {};
  return check_range(name, cap, 1e-3, 1e4);
}

Status check_yarn(const RawRope& rope) {
  const YarnScaling& yarn = *rope.yarn;
  TRY(check_range("rope theta", rope.theta, 1.001, 1e15));
  TRY(check_range("rope scaling factor", yarn.factor, 1e-3, 1e6));
  TRY(check_range("original_max_position_embeddings", yarn.original_context, 1.0, 1e9));
  TRY(check_range("beta_slow", yarn.beta_slow, 1e-3, 1e6));
  TRY(check_range("beta_fast", yarn.beta_fast, yarn.beta_slow, 1e6));
  return check_range("attention_factor", yarn.magnitude, 1e-3, 1e3);
}

Status check_experts(const RawSpec& raw) {
  const RawExperts& experts = raw.experts;
  TRY(check_range("number of experts", experts.n_experts, 0, kMaxExperts));
  if (experts.n_experts == 0) return {};
  if (experts.n_experts * raw.n_layers > kMaxModelExperts) {
    return Error(Code::kInvalidArgument, "model configuration: ", experts.n_experts, " experts in each of ",
                 raw.n_layers, " layers are more than ", kMaxModelExperts);
  }
  TRY(check_range("experts used of a row", experts.n_used, 1, experts.n_experts));
  TRY(check_range("feed-forward width of an expert", experts.d_ff, 1, kMaxFeedForward));
  TRY(check_range("feed-forward width of the shared expert", experts.shared_d_ff, 0, kMaxFeedForward));
  if (raw.sparse.empty() || static_cast<std::int64_t>(raw.sparse.size()) == raw.n_layers) return {};
  return Error(Code::kInvalidArgument, "model configuration: experts are given for ", raw.sparse.size(),
               " layers, the model has ", raw.n_layers);
}

Status check_delta(const RawSpec& raw) {
  if (raw.recurrent.empty()) return {};
  const RawDelta& delta = raw.delta;
  if (static_cast<std::int64_t>(raw.recurrent.size()) != raw.n_layers) {
    return Error(Code::kInvalidArgument, "model configuration: layer types are given for ", raw.recurrent.size(),
                 " layers, the model has ", raw.n_layers);
  }
  if (std::ranges::find(raw.recurrent, false) == raw.recurrent.end()) {
    return Error(Code::kUnimplemented,
                 "model configuration: every layer is recurrent; models without an attention layer are not supported");
  }
  TRY(check_range("number of linear attention's value heads", delta.n_value_heads, 1, kMaxHeads));
  TRY(check_range("number of linear attention's key heads", delta.n_key_heads, 1, delta.n_value_heads));
  TRY(check_range("head dimension of linear attention's keys", delta.key_dim, 16, kMaxHeadDim));
  TRY(check_range("head dimension of linear attention's values", delta.value_dim, 16, kMaxHeadDim));
  TRY(check_range("convolution kernel of linear attention", delta.kernel, 2, DeltaShape::kMaxKernel));
  if (delta.n_value_heads % delta.n_key_heads != 0 || delta.key_dim % 16 != 0 || delta.value_dim % 16 != 0) {
    return Error(Code::kInvalidArgument, "model configuration: linear attention has ", delta.n_value_heads,
                 " value heads of ", delta.value_dim, " and ", delta.n_key_heads, " key heads of ", delta.key_dim,
                 ": the first number must be a multiple of the third, both widths multiples of 16");
  }
  return {};
}

/// `n_rotated`: values of a head that turn.
Status check_rope(const RawRope& rope, std::int64_t n_rotated) {
  TRY(check_range("rope theta", rope.theta, 1.0, 1e15));
  TRY(check_range("rope scaling factor", rope.linear_factor, 1e-3, 1e6));
  if (rope.llama3) {
    const Llama3Scaling& scaling = *rope.llama3;
    TRY(check_range("rope scaling factor", scaling.factor, 1e-3, 1e6));
    TRY(check_range("low_freq_factor", scaling.low_frequency_factor, 1e-3, 1e6));
    TRY(check_range("high_freq_factor", scaling.high_frequency_factor, 1e-3, 1e6));
    TRY(check_range("original_max_position_embeddings", scaling.original_context, 1.0, 1e9));
    if (scaling.high_frequency_factor <= scaling.low_frequency_factor) {
      return Error(Code::kInvalidArgument, "model configuration: high_freq_factor must exceed low_freq_factor");
    }
  }
  if (rope.yarn) TRY(check_yarn(rope));
  if (!rope.divisors.empty() && static_cast<std::int64_t>(rope.divisors.size()) != n_rotated / 2) {
    return Error(Code::kInvalidArgument, "there are ", rope.divisors.size(), " rope factors, expected ", n_rotated / 2);
  }
  for (const float divisor : rope.divisors) TRY(check_range("rope factor", double{divisor}, 1e-6, 1e31));
  TRY(check_range("attention_factor", rope.magnitude, 1e-3, 1e3));
  TRY(check_range("partial_rotary_factor", rope.rotated, 0.0, 1.0));
  return {};
}

/// Cosines and sines make a query grow only where all its values turn, in every layer by the same rope.
Status check_query_growth(const RawSpec& raw) {
  TRY(check_range("llama_4_scaling_beta", raw.rope.query_growth, 0.0, 10.0));
  if (raw.rope.query_growth == 0.0) return {};
  TRY(check_range("original_max_position_embeddings", raw.rope.query_growth_context, 1.0, 1e9));
  const bool turns_whole = (raw.n_rotated == 0 || raw.n_rotated == raw.head_dim) && raw.rope.rotated == 1.0;
  if (turns_whole && raw.rotates.empty() && !raw.sliding_rope) return {};
  return Error(Code::kUnimplemented,
               "model configuration: queries that grow with their position, but of which not all values turn");
}

std::int64_t full_head_dim(const RawSpec& raw) { return raw.full_head_dim > 0 ? raw.full_head_dim : raw.head_dim; }
std::int64_t full_kv_heads(const RawSpec& raw) { return raw.full_kv_heads > 0 ? raw.full_kv_heads : raw.n_kv_heads; }

/// What differs between layers.
Status check_kinds(const RawSpec& raw) {
  TRY(check_range("head dimension of full attention", raw.full_head_dim, 0, kMaxHeadDim));
  TRY(check_range("number of key/value heads of full attention", raw.full_kv_heads, 0, raw.n_heads));
  TRY(check_range("width of per-layer embeddings", raw.per_layer_width, 0, kMaxPerLayerWidth));
  TRY(check_range("number of layers that share keys and values", raw.n_sharing, 0, raw.n_layers - 1));
  if (raw.n_heads % full_kv_heads(raw) != 0 || full_head_dim(raw) % 2 != 0) {
    return Error(Code::kInvalidArgument, "model configuration: layers of full attention have ", raw.n_heads,
                 " attention heads, ", full_kv_heads(raw), " key/value heads and a head dimension of ",
                 full_head_dim(raw), ": the first must be a multiple of the second, the last even");
  }
  if (full_head_dim(raw) != raw.head_dim && (raw.sliding.empty() || !raw.sliding_rope)) {
    return Error(Code::kInvalidArgument, "model configuration: two head dimensions, ", raw.head_dim, " and ",
                 full_head_dim(raw), ", need a list of layer types and a rotation for each");
  }
  if (!raw.d_ff_of.empty() && static_cast<std::int64_t>(raw.d_ff_of.size()) != raw.n_layers) {
    return Error(Code::kInvalidArgument, "model configuration: feed-forward widths are given for ", raw.d_ff_of.size(),
                 " layers, the model has ", raw.n_layers);
  }
  for (const std::int64_t d_ff : raw.d_ff_of) TRY(check_range("feed-forward width", d_ff, 1, kMaxFeedForward));
  return {};
}

/// Values of a head that turn, where a head has `head_dim`.
std::int64_t n_rotated(const RawSpec& raw, std::int64_t head_dim) {
  return raw.n_rotated > 0 ? raw.n_rotated : head_dim;
}

Status check_numbers(const RawSpec& raw) {
  TRY(check_range("number of layers", raw.n_layers, 1, kMaxLayers));
  TRY(check_range("model width", raw.d_model, 1, kMaxWidth));
  TRY(check_range("vocabulary size", raw.n_vocab, 1, kMaxVocab));
  TRY(check_range("context length", raw.n_context, 1, kMaxContext));
  TRY(check_range("number of attention heads", raw.n_heads, 1, kMaxHeads));
  TRY(check_range("number of key/value heads", raw.n_kv_heads, 1, raw.n_heads));
  TRY(check_range("head dimension", raw.head_dim, 2, kMaxHeadDim));
  TRY(check_range("feed-forward width", raw.d_ff, 1, kMaxFeedForward));
  TRY(check_range("sliding window", raw.window, 0, kMaxContext));
  TRY(check_range("norm epsilon", raw.norm_eps, 0.0, 0.1));
  TRY(check_range("attention scale", raw.attention_scale, 0.0, 1e3));
  TRY(check_softcap("attention softcap", raw.attention_softcap));
  TRY(check_softcap("final softcap", raw.final_softcap));
  TRY(check_range("embedding scale", raw.embedding_scale, 1e-6, 1e6));
  TRY(check_range("residual scale", raw.residual_scale, 1e-6, 1e6));
  TRY(check_range("logit scale", raw.logit_scale, 1e-6, 1e6));
  if (raw.n_heads % raw.n_kv_heads != 0) {
    return Error(Code::kInvalidArgument, "model configuration: ", raw.n_heads,
                 " attention heads are not a multiple of ", raw.n_kv_heads, " key/value heads");
  }
  if (raw.head_dim % 2 != 0) {
    return Error(Code::kInvalidArgument, "model configuration: head dimension ", raw.head_dim, " is odd");
  }
  if (!raw.sliding.empty() && static_cast<std::int64_t>(raw.sliding.size()) != raw.n_layers) {
    return Error(Code::kInvalidArgument, "model configuration: layer types are given for ", raw.sliding.size(),
                 " layers, the model has ", raw.n_layers);
  }
  if (!raw.rotates.empty() && static_cast<std::int64_t>(raw.rotates.size()) != raw.n_layers) {
    return Error(Code::kInvalidArgument, "model configuration: no_rope_layers is given for ", raw.rotates.size(),
                 " layers, the model has ", raw.n_layers);
  }
  if (!raw.rotates.empty() && raw.qk_norm && !raw.wide_qk_norm) {
    return Error(Code::kUnimplemented, "model configuration: layers without rotation but with norms of their heads");
  }
  TRY(check_range("rotated values of a head", raw.n_rotated, 0, raw.head_dim));
  if (raw.n_rotated % 2 != 0) {
    return Error(Code::kInvalidArgument, "model configuration: ", raw.n_rotated, " rotated values of a head are odd");
  }
  TRY(check_kinds(raw));
  TRY(check_rope(raw.rope, n_rotated(raw, full_head_dim(raw))));
  TRY(check_query_growth(raw));
  if (raw.sliding_rope) TRY(check_rope(*raw.sliding_rope, n_rotated(raw, raw.head_dim)));
  TRY(check_experts(raw));
  return check_delta(raw);
}

DeltaShape build_delta(const RawDelta& raw) {
  return {.n_key_heads = static_cast<int>(raw.n_key_heads),
          .n_value_heads = static_cast<int>(raw.n_value_heads),
          .key_dim = static_cast<int>(raw.key_dim),
          .value_dim = static_cast<int>(raw.value_dim),
          .kernel = static_cast<int>(raw.kernel),
          .is_tiled = raw.is_tiled};
}

RopeSpec build_rope(const RawRope& raw, int n_rotated) {
  RopeSpec rope;
  rope.frequencies = rope_frequencies(n_rotated, raw.theta);
  rope.magnitude = static_cast<float>(raw.magnitude);
  if (raw.linear_factor != 1.0) scale_linear(rope.frequencies, raw.linear_factor);
  if (raw.llama3) scale_llama3(rope.frequencies, *raw.llama3);
  if (raw.yarn) {
    scale_yarn(rope.frequencies, raw.theta, *raw.yarn);
    rope.magnitude = static_cast<float>(raw.yarn->magnitude);
  }
  if (!raw.divisors.empty()) divide(rope.frequencies, raw.divisors);
  const auto n_turning = static_cast<std::size_t>(raw.rotated * n_rotated / 2.0);
  for (std::size_t pair = n_turning; pair < rope.frequencies.size(); ++pair) rope.frequencies[pair] = 0.0f;
  rope.interleaved = raw.interleaved;
  return rope;
}

ExpertSpec build_experts(const RawExperts& raw) {
  return {.n_experts = static_cast<int>(raw.n_experts),
          .n_used = static_cast<int>(raw.n_used),
          .d_ff = static_cast<int>(raw.d_ff),
          .shared_d_ff = static_cast<int>(raw.shared_d_ff),
          .normalised = raw.normalised,
          .softmax_of_used = raw.softmax_of_used,
          .has_biases = raw.has_biases,
          .beside_dense = raw.beside_dense};
}

/// Queries that grow turn by a rope of their own. Returns its index; -1: they turn as keys do.
int add_query_rope(const RawRope& raw, DecoderSpec& spec) {
  if (raw.query_growth == 0.0) return -1;
  RopeSpec rope = spec.ropes.front();
  rope.growth = static_cast<float>(raw.query_growth);
  rope.growth_context = static_cast<float>(raw.query_growth_context);
  spec.ropes.push_back(std::move(rope));
  return count_of(spec.ropes) - 1;
}

/// Lets the last layers read the keys and values of the last layer of their kind that has its own.
Status share_kv(const RawSpec& raw, DecoderSpec& spec) {
  const int first = spec.n_layers() - static_cast<int>(raw.n_sharing);
  const auto is_sliding = [&](int layer) { return !raw.sliding.empty() && raw.sliding[to_size(layer)]; };
  for (int layer = first; layer < spec.n_layers(); ++layer) {
    LayerSpec& sharer = spec.layers[layer];
    int owner = first - 1;
    while (owner >= 0 && is_sliding(owner) != is_sliding(layer)) --owner;
    if (owner < 0) {
      return Error(Code::kInvalidArgument, "model configuration: layer ", layer, " shares keys and values (the last ",
                   raw.n_sharing, " layers do), but none of the ", first, " layers before has ",
                   is_sliding(layer) ? "a sliding window" : "full attention", " too");
    }
    sharer.kv_owner = owner;
    sharer.value_norm = sharer.value_is_key = false;
  }
  return {};
}

}  // namespace

YarnScaling usual_gpt_oss_yarn() {
  YarnScaling yarn = {.factor = 32.0, .original_context = 4096.0, .truncates = false};
  yarn.magnitude = yarn_magnitude(yarn.factor);
  return yarn;
}

std::vector<bool> all_but_every(std::int64_t n_layers, std::int64_t period) {
  std::vector<bool> layers;
  for (std::int64_t layer = 0; layer < n_layers && layer < kMaxLayers; ++layer) {
    layers.push_back(period > 0 && (layer + 1) % period != 0);
  }
  return layers;
}

namespace {

/// A delta net in the place of attention.
void make_recurrent(LayerSpec& layer, const RawDelta& delta) {
  layer.heads = {};
  layer.delta = build_delta(delta);
  layer.rope = -1;
  layer.output_gate = layer.qk_norm = false;
}

}  // namespace

Result<DecoderSpec> build_spec(const RawSpec& raw) {
  TRY(check_numbers(raw));
  DecoderSpec spec;
  spec.architecture = raw.architecture;
  spec.d_model = static_cast<int>(raw.d_model);
  spec.n_vocab = static_cast<int>(raw.n_vocab);
  spec.n_context = static_cast<int>(raw.n_context);
  spec.norm_eps = static_cast<float>(raw.norm_eps);
  spec.norm_offset = static_cast<float>(raw.norm_offset);
  spec.embedding_scale = static_cast<float>(raw.embedding_scale);
  spec.logit_scale = static_cast<float>(raw.logit_scale);
  spec.final_softcap = static_cast<float>(raw.final_softcap);
  spec.per_layer_width = static_cast<int>(raw.per_layer_width);
  spec.image_sight = raw.image_sight;
  spec.tied_head = raw.tied_head;
  const int head_dim = static_cast<int>(raw.head_dim), full_dim = static_cast<int>(full_head_dim(raw));
  spec.ropes.push_back(build_rope(raw.rope, static_cast<int>(n_rotated(raw, full_dim))));
  if (raw.sliding_rope) {
    spec.ropes.push_back(build_rope(*raw.sliding_rope, static_cast<int>(n_rotated(raw, head_dim))));
  }

  const int query_rope = add_query_rope(raw.rope, spec);
  LayerSpec layer;
  layer.heads = {static_cast<int>(raw.n_heads), static_cast<int>(raw.n_kv_heads), head_dim};
  layer.attention_softcap = static_cast<float>(raw.attention_softcap);
  layer.sinks = raw.sinks;
  layer.qkv_bias = raw.qkv_bias;
  layer.output_bias = raw.output_bias;
  layer.output_gate = raw.output_gate;
  layer.qk_norm = raw.qk_norm;
  layer.wide_qk_norm = raw.wide_qk_norm;
  layer.value_norm = raw.value_norm;
  layer.output_scale = raw.output_scale;
  layer.pre_norms = raw.pre_norms;
  layer.residual_scale = static_cast<float>(raw.residual_scale);
  layer.post_norms = raw.post_norms;
  layer.activation = raw.activation;
  layer.attention_scale =
      static_cast<float>(raw.attention_scale > 0.0 ? raw.attention_scale : 1.0 / std::sqrt(double(head_dim)));
  for (std::int64_t i = 0; i < raw.n_layers; ++i) {
    const bool sliding = raw.sliding.empty() || raw.sliding[i];
    layer.window = sliding ? static_cast<int>(raw.window) : 0;
    const bool rotates = raw.rotates.empty() || raw.rotates[i];
    layer.query_rope = rotates ? query_rope : -1;
    layer.rope = !rotates ? -1 : sliding && raw.sliding_rope ? 1 : 0;
    const bool is_full = !raw.sliding.empty() && !sliding;
    layer.heads.n_kv_heads = static_cast<int>(is_full ? full_kv_heads(raw) : raw.n_kv_heads);
    layer.heads.head_dim = is_full ? full_dim : head_dim;
    layer.value_is_key = is_full && raw.full_value_is_key;
    const bool is_sparse = raw.experts.n_experts > 0 && (raw.sparse.empty() || raw.sparse[i]);
    layer.experts = is_sparse ? build_experts(raw.experts) : ExpertSpec();
    layer.d_ff =
        is_sparse && !raw.experts.beside_dense ? 0 : static_cast<int>(raw.d_ff_of.empty() ? raw.d_ff : raw.d_ff_of[i]);
    spec.layers.push_back(layer);
    if (!raw.recurrent.empty() && raw.recurrent[i]) make_recurrent(spec.layers.back(), raw.delta);
  }
  TRY(share_kv(raw, spec));
  return spec;
}

}  // namespace commissure
