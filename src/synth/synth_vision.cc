#include "synth/synth_vision.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "core/index.h"
#include "synth/random_values.h"

namespace commissure {
namespace {

constexpr int kHeadDim = 72;
constexpr double kJitter = 0.05;  // of norms
constexpr double kBias = 0.1;
constexpr double kPosition = 0.5;  // beside patches of rms 0.6
constexpr double kRows = 0.15;     // rms of what layers of the text model get: as of its own tokens

using Shape64 = std::vector<std::int64_t>;

class Drawn {
 public:
  explicit Drawn(const SynthRequest& request) : request_(request) {}

  void add(std::string name, Shape64 shape, Spread spread) {
    RandomTensor& tensor = tensors_.emplace_back();
    RandomRows rows;
    rows.key = tensor_key(request_.seed, name);
    rows.count = 1;
    for (std::size_t i = 0; i + 1 < shape.size(); ++i) rows.count *= shape[i];
    rows.spread = spread;
    tensor.rows.push_back(rows);
    tensor.info.n_bytes = to_size(rows.count) * row_bytes(request_.dtype, shape.back());
    tensor.info.name = std::move(name);
    tensor.info.dtype = request_.dtype;
    tensor.info.shape = std::move(shape);
  }
  void norm(const std::string& name, std::int64_t n) {
    add(name + ".weight", {n}, {1.0, kJitter});
    add(name + ".bias", {n}, {0.0, kBias});
  }
  /// Outputs have `gain` times the rms of inputs.
  void product(const std::string& name, Shape64 shape, double gain = 1.0) {
    std::int64_t n_inputs = 1;
    for (std::size_t i = 1; i < shape.size(); ++i) n_inputs *= shape[i];
    const std::int64_t n_outputs = shape[0];
    add(name + ".weight", std::move(shape), {0.0, gain / std::sqrt(static_cast<double>(n_inputs))});
    add(name + ".bias", {n_outputs}, {0.0, kBias});
  }
  std::vector<RandomTensor> take() { return std::move(tensors_); }

 private:
  const SynthRequest& request_;
  std::vector<RandomTensor> tensors_;
};

}  // namespace

bool may_see(const Shape& shape) { return shape.family == "gemma3_text"; }

ImageTokens image_tokens(int n_vocab) {
  if (n_vocab > 262144) return {255999, 256000, 262144};
  return {n_vocab - 3, n_vocab - 2, n_vocab - 1};
}

Json config_with_vision(const SynthRequest& request, const Json& text) {
  const bool is_whole = request.scale_down == 1;
  const int n_heads = std::max(1, 16 / request.scale_down);
  const ImageTokens tokens = image_tokens(text.value("vocab_size", 0));
  Json config = {{"architectures", {"Gemma3ForConditionalGeneration"}},
                 {"model_type", "gemma3"},
                 {"text_config", text},
                 {"vision_config",
                  {{"model_type", "siglip_vision_model"},
                   {"hidden_size", kHeadDim * n_heads},
                   {"intermediate_size", is_whole ? 4304 : 2 * kHeadDim * n_heads},
                   {"num_hidden_layers", is_whole ? 27 : 2},
                   {"num_attention_heads", n_heads},
                   {"image_size", is_whole ? 896 : 112},
                   {"patch_size", 14},
                   {"vision_use_head", false}}},
                 {"mm_tokens_per_image", is_whole ? 256 : 16},
                 {"boi_token_index", tokens.begin},
                 {"eoi_token_index", tokens.end},
                 {"image_token_index", tokens.row}};
  for (const char* name : {"torch_dtype", "commissure_synth"}) config[name] = text.value(name, "");
  return config;
}

std::vector<RandomTensor> random_vision_tensors(const SynthRequest& request, const Json& config) {
  const Json& vision = config["vision_config"];
  const auto number = [&](const char* name) { return vision[name].get<std::int64_t>(); };
  const std::int64_t d = number("hidden_size"), d_ff = number("intermediate_size"), patch = number("patch_size");
  const std::int64_t n_layers = number("num_hidden_layers"), per_side = number("image_size") / patch;
  const double branch = 4.0 / std::sqrt(2.0 * static_cast<double>(n_layers));
  const std::string tower = "vision_tower.vision_model.", projector = "multi_modal_projector.";
  Drawn drawn(request);
  drawn.product(tower + "embeddings.patch_embedding", {d, 3, patch, patch});
  drawn.add(tower + "embeddings.position_embedding.weight", {per_side * per_side, d}, {0.0, kPosition});
  for (std::int64_t layer = 0; layer < n_layers; ++layer) {
    const std::string before = fmt::format("{}encoder.layers.{}.", tower, layer);
    drawn.norm(before + "layer_norm1", d);
    for (const char* name : {"q_proj", "k_proj", "v_proj"}) drawn.product(before + "self_attn." + name, {d, d});
    drawn.product(before + "self_attn.out_proj", {d, d}, branch);
    drawn.norm(before + "layer_norm2", d);
    drawn.product(before + "mlp.fc1", {d_ff, d});
    drawn.product(before + "mlp.fc2", {d, d_ff}, branch);
  }
  drawn.norm(tower + "post_layernorm", d);
  drawn.add(projector + "mm_input_projection_weight", {d, config["text_config"]["hidden_size"].get<std::int64_t>()},
            {0.0, kRows / std::sqrt(static_cast<double>(d))});
  drawn.add(projector + "mm_soft_emb_norm.weight", {d}, {0.0, kJitter});  // w of (1 + w)
  return drawn.take();
}

}  // namespace commissure
