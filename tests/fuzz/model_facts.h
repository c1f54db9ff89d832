#pragma once

// What the program relies on once a model's own files have been read.

#include <algorithm>

#include "core/index.h"
#include "fuzz/fuzz.h"
#include "model/decoder_spec.h"
#include "serve/generation_defaults.h"
#include "step/sampling_params.h"

namespace commissure::fuzz {

/// Buffers are sized by these numbers.
inline void check_spec(const Result<DecoderSpec>& spec) {
  if (!is_accepted(spec)) return;
  CHECK(spec->d_model > 0 && spec->n_vocab > 0 && spec->n_context > 0 && !spec->layers.empty());
  CHECK(spec->d_model <= 1 << 17 && spec->n_vocab <= 1 << 24 && spec->n_context <= 1 << 26);
  int n_experts = 0;
  for (const LayerSpec& layer : spec->layers) {
    const ExpertSpec& experts = layer.experts;
    const DeltaShape& delta = layer.delta;
    if (layer.is_recurrent()) {
      CHECK(delta.n_key_heads > 0 && delta.n_value_heads % delta.n_key_heads == 0 && layer.kv_owner < 0);
      CHECK(delta.key_dim > 0 && delta.key_dim % 16 == 0 && delta.value_dim > 0 && delta.value_dim % 16 == 0);
      CHECK(delta.kernel >= 2 && delta.kernel <= DeltaShape::kMaxKernel && delta.n_channels() > 0);
    } else {
      CHECK(layer.heads.n_heads > 0 && layer.heads.n_kv_heads > 0 && layer.heads.head_dim > 0);
      CHECK(layer.heads.n_heads % layer.heads.n_kv_heads == 0);
    }
    CHECK((layer.d_ff > 0) == (experts.n_experts == 0 || experts.beside_dense));
    n_experts += experts.n_experts;
    if (experts.n_experts > 0) {
      CHECK(experts.n_used > 0 && experts.n_used <= experts.n_experts && experts.d_ff > 0 && experts.shared_d_ff >= 0);
    }
    CHECK(layer.window >= 0);
    CHECK(layer.rope == -1 || has_index(spec->ropes, layer.rope));
    CHECK(layer.kv_owner < static_cast<int>(&layer - spec->layers.data()));
    if (layer.kv_owner >= 0) {
      const LayerSpec& owner = spec->layers[to_size(layer.kv_owner)];
      CHECK(owner.kv_owner < 0 && owner.window == layer.window);
      CHECK(owner.heads.n_kv_heads == layer.heads.n_kv_heads && owner.heads.head_dim == layer.heads.head_dim);
    }
  }
  CHECK(n_experts <= 1 << 16);
  CHECK(spec->per_layer_width >= 0 && spec->per_layer_width <= 1 << 16);
  for (const RopeSpec& rope : spec->ropes) CHECK(!rope.frequencies.empty());
  CHECK(widest_window(*spec) >= 0);
}

/// A request that sets nothing is a legal one.
inline void check_defaults(const AdvisedDefaults& advised) {
  SamplingParams params;
  const GenerationDefaults& values = advised.values;
  params.temperature = values.temperature.value_or(params.temperature);
  params.top_p = values.top_p.value_or(params.top_p);
  params.min_p = values.min_p.value_or(params.min_p);
  params.top_k = values.top_k.value_or(params.top_k);
  params.repetition_penalty = values.repetition_penalty.value_or(params.repetition_penalty);
  params.xtc_probability = values.xtc_probability.value_or(params.xtc_probability);
  params.xtc_threshold = values.xtc_threshold.value_or(params.xtc_threshold);
  params.mirostat = values.mirostat.value_or(params.mirostat);
  CHECK(validate(params).has_value());
  CHECK(std::ranges::all_of(values.end_tokens, [](TokenId token) { return token.value >= 0; }));
  for (const std::string& warning : advised.warnings) CHECK(warning.size() <= 1000);
}

}  // namespace commissure::fuzz
