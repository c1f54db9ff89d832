#include "synth/synth_plan.h"

#include <string>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "core/check.h"
#include "core/index.h"
#include "model/tensor_names.h"
#include "synth/gguf_description.h"
#include "synth/random_values.h"
#include "synth/synth_config.h"
#include "synth/synth_vision.h"
#include "synth/weight_scales.h"

namespace commissure {
namespace {

bool is_gguf(const SynthPlan& plan) { return plan.request.format == CheckpointFormat::kGguf; }

/// Published files of the family have its experts in MXFP4, whatever all else is in.
bool has_fp4_experts(const SynthPlan& plan) { return plan.whole.architecture == "gpt_oss"; }

/// Where a tensor's values stand in the file: all of a tensor of it, or some of its rows.
struct Place {
  std::string name;
  std::vector<std::int64_t> shape;
  DType dtype = DType::kBF16;
  RowForm form = RowForm::kValues;
  std::int64_t first = 0;  ///< as RandomRows
  std::int64_t count = 0;
  enum class Turn { kAlone, kFirst, kSecond } turn = Turn::kAlone;
};

/// Vectors and routers of a GGUF are F32, as converters write them.
DType dtype_of(const SynthPlan& plan, const ExpectedTensor& tensor) {
  if (has_fp4_experts(plan) && tensor.expert >= 0) return DType::kMXFP4;
  const bool is_small = !is_matrix(tensor.role) || tensor.role == TensorRole::kRouter ||
                        tensor.role == TensorRole::kSharedRouter || tensor.shape.size() == 1;
  return is_gguf(plan) && is_small ? DType::kF32 : plan.request.dtype;
}

Place place_of(const SynthPlan& plan, const ExpectedTensor& tensor) {
  return {.name = tensor.name,
          .shape = tensor.stored_shape(),
          .dtype = dtype_of(plan, tensor),
          .first = tensor.first,
          .count = tensor.shape.size() == 1 ? 1 : tensor.shape[0]};
}

/// In a folder of gpt-oss: all experts of a layer in one tensor of codes and one of scales, their biases in one, gate
/// and up taking turns. Nothing where the tensor is none of experts.
std::vector<Place> places_in_oss_folder(const SynthPlan& plan, const ExpectedTensor& tensor) {
  using Turn = Place::Turn;
  const bool is_down = tensor.role == TensorRole::kExpertDown || tensor.role == TensorRole::kExpertDownBias;
  const bool is_up = tensor.role == TensorRole::kExpertUp || tensor.role == TensorRole::kExpertUpBias;
  const Turn turn = is_down ? Turn::kAlone : is_up ? Turn::kSecond : Turn::kFirst;
  const std::int64_t n_experts = plan.whole.layers.front().experts.n_experts, n_taking = is_down ? 1 : 2;
  const std::string name = fmt::format("{}layers.{}.mlp.experts.{}", plan.part.naming.prefix, tensor.layer,
                                       is_down ? "down_proj" : "gate_up_proj");
  if (is_expert_bias(tensor.role)) {
    return {{.name = name + "_bias",
             .shape = {n_experts, n_taking * tensor.shape[1]},
             .dtype = plan.request.dtype,
             .count = n_experts,
             .turn = turn}};
  }
  if (tensor.expert < 0) return {};
  const std::int64_t n_rows = n_taking * tensor.shape[0], n_blocks = tensor.shape[1] / kFp4Block;
  Place codes = {.name = name + "_blocks",
                 .shape = {n_experts, n_rows, n_blocks, kFp4Block / 2},
                 .dtype = DType::kU8,
                 .form = RowForm::kCodes,
                 .first = tensor.expert * n_rows,
                 .count = n_rows,
                 .turn = turn};
  Place scales = codes;
  scales.name = name + "_scales";
  scales.shape.pop_back();
  scales.form = RowForm::kScales;
  return {std::move(codes), std::move(scales)};
}

std::vector<Place> places_of(const SynthPlan& plan, const ExpectedTensor& tensor) {
  if (has_fp4_experts(plan) && !is_gguf(plan)) {
    auto places = places_in_oss_folder(plan, tensor);
    if (!places.empty()) return places;
  }
  return {place_of(plan, tensor)};
}

/// Of what both formats know of a tensor: its name in safetensors, and its first row where it is one of several. What
/// per-layer embeddings give to some layers is drawn as a part of what they give to all.
std::string stream_name(const ExpectedTensor& tensor) {
  const bool is_shared = tensor.role == TensorRole::kPerLayerTable || tensor.role == TensorRole::kPerLayerProjection;
  return fmt::format("{}#{}", tensor.name, is_shared ? 0 : tensor.first);
}

RandomRows random_rows(const SynthPlan& plan, const ExpectedTensor& source, const Place& place) {
  RandomRows rows;
  rows.key = tensor_key(plan.request.seed, stream_name(source));
  rows.first = place.first;
  rows.count = place.count;
  rows.spread = spread_of(source, plan.whole);
  if (source.role == TensorRole::kPerLayerTable) rows.drawn_column = source.first;
  if (source.role == TensorRole::kPerLayerProjection) rows.drawn_row = source.first;
  if (is_norm(source.role) && !is_gguf(plan)) rows.offset = static_cast<double>(plan.whole.norm_offset);
  const bool is_rotated = source.role == TensorRole::kQuery || source.role == TensorRole::kKey;
  if (is_gguf(plan) && is_rotated && is_interleaved_in_gguf(plan.whole))
    rows.interleaved_dim = plan.whole.layers[source.layer].heads.head_dim;
  return rows;
}

std::size_t bytes_of(const Place& place) {
  std::size_t n_rows = 1;
  for (std::size_t i = 0; i + 1 < place.shape.size(); ++i) n_rows *= to_size(place.shape[i]);
  return n_rows * row_bytes(place.dtype, place.shape.back());
}

std::vector<ExpectedTensor> all_tensors(const DecoderSpec& spec, const ModelPart& part) {
  std::vector<ExpectedTensor> tensors = expected_tensors(spec, part);
  if (auto table = expected_table(spec, part)) tensors.push_back(*std::move(table));
  return tensors;
}

}  // namespace

Result<SynthPlan> plan_synth(const SynthRequest& request) {
  SynthPlan plan{.request = request, .config = {}, .whole = {}, .part = {}};
  const Json config = whole_config(request);
  plan.whole = TRY(spec_from_config(config, request.dtype));
  TRY(check_part(request, plan.whole));
  plan.config = part_config(request, config, plan.whole);
  plan.part = TRY(spec_from_config(plan.config, request.dtype));
  if (is_gguf(plan)) plan.part.naming = gguf_naming(plan.part);
  if (request.has_vision) {
    plan.config = config_with_vision(request, plan.config);
    plan.part.naming.prefix = "language_model.model.";
  }
  for (DecoderSpec* spec : {&plan.whole, &plan.part}) {
    spec->naming.fused_experts = false;
    spec->naming.packed_experts = spec->layers.front().experts.beside_dense;
  }
  return plan;
}

std::vector<RandomTensor> random_tensors(const SynthPlan& plan) {
  const LayerSpan span = layers_of(plan.request, plan.whole.n_layers());
  const auto sources = all_tensors(plan.whole, {span.first, span.last + 1, true, true});
  const auto expected = all_tensors(plan.part, {0, plan.part.n_layers(), true, true});
  CHECK(sources.size() == expected.size());
  std::vector<RandomTensor> tensors;
  std::unordered_map<std::string, std::size_t> by_name;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CHECK(sources[i].role == expected[i].role);
    for (Place& place : places_of(plan, expected[i])) {
      const auto [entry, is_new] = by_name.try_emplace(place.name, tensors.size());
      if (is_new) tensors.emplace_back();
      RandomTensor& tensor = tensors[entry->second];
      RandomRows rows = random_rows(plan, sources[i], place);
      if (place.turn == Place::Turn::kSecond) {
        tensor.rows.back().odd_key = rows.key;
        continue;
      }
      tensor.rows.push_back(rows);
      if (!is_new) continue;
      tensor.info.n_bytes = bytes_of(place);
      tensor.info.name = std::move(place.name);
      tensor.info.dtype = place.dtype;
      tensor.info.shape = std::move(place.shape);
      tensor.form = place.form;
    }
  }
  if (plan.request.has_vision) {
    for (RandomTensor& tensor : random_vision_tensors(plan.request, plan.config)) tensors.push_back(std::move(tensor));
  }
  return tensors;
}

}  // namespace commissure
