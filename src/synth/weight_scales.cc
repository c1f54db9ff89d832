#include "synth/weight_scales.h"

#include <cmath>

namespace commissure {
namespace {

/// Rms of a looked-up row as the first layer sees it. Small beside what the layers add: a row that is mostly its own
/// token would make a tied head say that token again.
constexpr double kEmbedded = 0.15;
/// Rms of what all branches of all layers add up to.
constexpr double kAdded = 4.0;
/// Deviation of logits.
constexpr double kLogits = 3.0;
/// Deviation of a score before the softmax: some positions count more than others, and none alone.
constexpr double kScores = 1.5;
/// Of act(g) * u for normal g and u, rms is 0.60 with SiLU, 0.65 with GELU.
constexpr double kGatedGain = 1.6;
/// Of gpt-oss's, whose u counts from -1, rms is 0.92.
constexpr double kClampedGain = 1.1;
constexpr double kJitter = 0.05;
constexpr double kBias = 0.1;

double inverse_root(std::int64_t n) { return 1.0 / std::sqrt(static_cast<double>(n)); }

Spread norm(double mean) { return {mean, kJitter * mean}; }

/// What the head's rows, and the final norm before them, make of a row.
double head_deviation(const DecoderSpec& spec) {
  return spec.tied_head ? kEmbedded / static_cast<double>(spec.embedding_scale) : inverse_root(spec.d_model);
}

/// What queries are multiplied by, beyond rms 1, for scores as spread as wanted.
double query_gain(const LayerSpec& layer) {
  return kScores * inverse_root(layer.heads.head_dim) / static_cast<double>(layer.attention_scale);
}

/// Rms of what one branch adds, before the residual scale.
double branch(const DecoderSpec& spec, const LayerSpec& layer) {
  return kAdded * inverse_root(2 * spec.n_layers()) / static_cast<double>(layer.residual_scale);
}

Spread spread_in_layer(const ExpectedTensor& tensor, const DecoderSpec& spec, const LayerSpec& layer) {
  const double even = inverse_root(tensor.shape.back());
  const double output = layer.post_norms ? 1.0 : branch(spec, layer);
  const double gain = layer.activation == Activation::kClampedSwiglu ? kClampedGain : kGatedGain;
  switch (tensor.role) {
    case TensorRole::kPostAttentionNorm:
    case TensorRole::kPostFeedForwardNorm:
    case TensorRole::kPostPerLayerNorm: return norm(branch(spec, layer));
    case TensorRole::kOutputScale:
    case TensorRole::kExpertScale: return norm(1.0);
    // What it makes of a row is divided by the root of the width.
    case TensorRole::kRouterNorm: return norm(std::sqrt(static_cast<double>(spec.d_model)));
    case TensorRole::kSinks: return {0.0, kScores};
    case TensorRole::kQueryNorm: return norm(query_gain(layer));
    case TensorRole::kQuery: return {0.0, layer.qk_norm ? even : even * query_gain(layer)};
    case TensorRole::kAttentionOutput: return {0.0, even * output};
    case TensorRole::kAttentionOutputBias:
    case TensorRole::kExpertDownBias: return {0.0, kBias * output};
    case TensorRole::kDown:
    case TensorRole::kSharedDown: return {0.0, even * output * gain};
    // A row's experts share one weight of about 1.
    case TensorRole::kExpertDown:
      return {0.0, even * output * gain * std::sqrt(static_cast<double>(layer.experts.n_used))};
    default: break;
  }
  if (is_bias(tensor.role)) return {0.0, kBias};
  return is_norm(tensor.role) ? norm(1.0) : Spread{0.0, even};
}

}  // namespace

Spread spread_of(const ExpectedTensor& tensor, const DecoderSpec& spec) {
  if (tensor.layer >= 0) return spread_in_layer(tensor, spec, spec.layers[tensor.layer]);
  switch (tensor.role) {
    case TensorRole::kEmbedding: return {0.0, kEmbedded / static_cast<double>(spec.embedding_scale)};
    case TensorRole::kHead: return {0.0, head_deviation(spec)};
    case TensorRole::kPerLayerTable: return {0.0, inverse_root(spec.per_layer_width)};  // looked up, its rms is 1
    case TensorRole::kFinalNorm:
      return norm(kLogits * inverse_root(spec.d_model) / head_deviation(spec) / static_cast<double>(spec.logit_scale));
    default: return is_norm(tensor.role) ? norm(1.0) : Spread{0.0, inverse_root(tensor.shape.back())};
  }
}

}  // namespace commissure
