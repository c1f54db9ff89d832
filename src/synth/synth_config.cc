#include "synth/synth_config.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace commissure {
namespace {

constexpr int kWidthStep = 64;         // kernels and quantised blocks like round numbers
constexpr int kLeastVocabulary = 512;  // holds the tokenizer that models get by default
constexpr int kLeastWindow = 16;
constexpr int kEmbeddingStep = 32;  // of per-layer embeddings: a quantised block

int divided(int n, int by, int step, int least) { return std::max(least, (n / by + step - 1) / step * step); }

/// The numbers of a published model divided by `by`; depth and heads' width stay, and how many query heads share keys.
Shape scaled(const Shape& shape, int by) {
  Shape small = shape;
  small.d_model = divided(shape.d_model, by, kWidthStep, kWidthStep);
  small.d_ff = divided(shape.d_ff, by, kWidthStep, kWidthStep);
  small.n_vocab = divided(shape.n_vocab, by, kWidthStep, kLeastVocabulary);
  small.n_kv_heads = std::max(1, shape.n_kv_heads / by);
  small.n_heads = shape.n_heads / shape.n_kv_heads * small.n_kv_heads;
  return small;
}

/// Of a member that is there; 0 and null stay.
void scale_member(Json& config, const char* name, int by, int step, int least) {
  const Json* value = find_member(config, name);
  if (value == nullptr || !value->is_number() || *value == 0) return;
  config[name] = divided(value->get<int>(), by, step, least);
}

std::string_view torch_name(DType dtype) {
  return dtype == DType::kF32 ? "float32" : dtype == DType::kF16 ? "float16" : "bfloat16";
}

/// What `of` says of each layer of the span, where it is not the same for all layers of the whole.
template <typename Of>
void list_layers(Json& config, const char* name, const DecoderSpec& whole, LayerSpan span, Of of) {
  const auto differs = [&](const LayerSpec& layer) { return of(layer) != of(whole.layers.front()); };
  if (std::ranges::none_of(whole.layers, differs)) return;
  Json list = Json::array();
  for (int layer = span.first; layer <= span.last; ++layer) list.push_back(Json(of(whole.layers[layer])));
  config[name] = std::move(list);
}

}  // namespace

LayerSpan layers_of(const SynthRequest& request, int n_layers) {
  return request.layers.value_or(LayerSpan{0, n_layers - 1});
}

std::string synth_mark(const SynthRequest& request) {
  SynthRequest bare = request;
  bare.tokenizer.clear();
  return fmt::format("{} by rule {}", synth_name(bare), kSynthRule);
}

Json whole_config(const SynthRequest& request) {
  if (request.scale_down == 1) return config_of(*request.shape);
  const Shape small = scaled(*request.shape, request.scale_down);
  Json config = config_of(small);
  config["head_dim"] = small.head_dim;
  scale_member(config, "moe_intermediate_size", request.scale_down, kWidthStep, kWidthStep);
  scale_member(config, "shared_expert_intermediate_size", request.scale_down, kWidthStep, kWidthStep);
  scale_member(config, "hidden_size_per_layer_input", request.scale_down, kEmbeddingStep, kEmbeddingStep);
  scale_member(config, "sliding_window", request.scale_down, 1, kLeastWindow);
  if (const Json* heads = find_member(config, "num_global_key_value_heads")) {
    config["num_global_key_value_heads"] = std::max(1, heads->get<int>() / request.scale_down);
  }
  for (const char* used : {"num_experts_per_tok", "top_k_experts"}) {
    const Json* n_used = find_member(config, used);
    if (n_used == nullptr) continue;
    for (const char* all : {"num_experts", "num_local_experts"}) {
      scale_member(config, all, request.scale_down, 1, 2 * n_used->get<int>());
    }
  }
  return config;
}

Status check_part(const SynthRequest& request, const DecoderSpec& whole) {
  const LayerSpan span = layers_of(request, whole.n_layers());
  const auto refuse = [&](auto&&... why) {
    return Error(Code::kInvalidArgument, request.shape->name, " cannot be its layers ", span.first, "-", span.last,
                 " alone: ", why...);
  };
  for (int layer = span.first; layer <= span.last; ++layer) {
    const int owner = whole.layers[layer].kv_owner;
    if (owner < 0 || owner >= span.first) continue;
    int first = owner;  // of the owners of all of them
    for (int later = layer; later <= span.last; ++later) first = std::min(first, whole.layers[later].kv_owner);
    return refuse("layer ", layer, " reads the keys and values of layer ", owner, "; begin at ", first, " or before");
  }
  if (whole.architecture != "gemma4" || request.format == CheckpointFormat::kGguf) return {};
  int last = span.last;
  while (last < whole.n_layers() - 1 && whole.layers[last].window > 0) ++last;
  if (last == span.last) return {};
  return refuse("in a folder the last one sees all positions whatever its config.json says; end at ", last,
                ", or say format gguf");
}

Json part_config(const SynthRequest& request, Json config, const DecoderSpec& whole) {
  const LayerSpan span = layers_of(request, whole.n_layers());
  config["num_hidden_layers"] = span.count();
  if (find_member(config, "num_kv_shared_layers") != nullptr) {
    int n_sharing = 0;
    for (int layer = span.first; layer <= span.last; ++layer) n_sharing += whole.layers[layer].kv_owner >= 0 ? 1 : 0;
    config["num_kv_shared_layers"] = n_sharing;
  }
  list_layers(config, "layer_types", whole, span, [](const LayerSpec& layer) {
    return layer.window > 0 ? std::string_view("sliding_attention") : std::string_view("full_attention");
  });
  list_layers(config, "no_rope_layers", whole, span, [](const LayerSpec& layer) { return layer.rope < 0 ? 0 : 1; });
  config["torch_dtype"] = torch_name(request.dtype);
  config["commissure_synth"] = synth_mark(request);
  return config;
}

}  // namespace commissure
