#include "apps/split_plan.h"

#include <algorithm>

#include "model/tensor_names.h"
#include "stage/stage_memory.h"
#include "step/step_batch.h"

namespace commissure {

namespace {

constexpr int kDefaultContext = 8192;

std::uint64_t part_bytes(const Checkpoint& checkpoint, const DecoderSpec& spec, const ModelPart& part) {
  const auto tensors = part_tensors(checkpoint, spec, part);
  return tensors ? total_bytes(*tensors) : 0;  // read_decoder_spec checked every tensor already
}

/// bf16 keys and values of one position in layers [first, last).
std::uint64_t kv_position_bytes(const DecoderSpec& spec, const LayerRange& layers) {
  std::uint64_t total = 0;
  for (int layer = layers.first; layer < layers.last; ++layer) {
    const HeadLayout& heads = spec.layers[static_cast<std::size_t>(layer)].heads;
    total += 2ull * sizeof(bf16) * static_cast<std::uint64_t>(heads.n_kv_heads * heads.head_dim);
  }
  return total;
}

}  // namespace

std::uint64_t layer_bytes(const Checkpoint& checkpoint, const DecoderSpec& spec, int layer) {
  return part_bytes(checkpoint, spec, {layer, layer + 1, false, false});
}

Result<std::vector<int>> choose_cuts(const Checkpoint& checkpoint, const DecoderSpec& spec, int n_stages) {
  std::vector<std::uint64_t> layers;
  for (int layer = 0; layer < spec.n_layers(); ++layer) layers.push_back(layer_bytes(checkpoint, spec, layer));
  // An embedding is looked up row by row, which costs no time, so only the head weighs at the ends.
  return balance_cuts(layers, 0, part_bytes(checkpoint, spec, {0, 0, false, true}), n_stages);
}

Result<std::vector<StageEstimate>> estimate_stages(const Checkpoint& checkpoint, const DecoderSpec& spec,
                                                   std::span<const int> cuts, std::int64_t kv_tokens,
                                                   int max_step_rows) {
  std::vector<StageEstimate> estimates;
  for (const StagePlan& plan : TRY(plan_stages(spec.n_layers(), cuts))) {
    estimates.push_back({plan, total_bytes(TRY(stage_tensors(checkpoint, spec, plan))),
                         kv_position_bytes(spec, plan.layers) * static_cast<std::uint64_t>(kv_tokens),
                         scratch_bytes(spec, plan, max_step_rows)});
  }
  return estimates;
}

ContextPlan plan_context(const DecoderSpec& spec, int max_model_len, std::int64_t kv_tokens) {
  ContextPlan plan;
  plan.context =
      max_model_len > 0 ? std::min(max_model_len, spec.n_context) : std::min(spec.n_context, kDefaultContext);
  plan.kv_tokens = kv_tokens > 0 ? kv_tokens : 4 * std::int64_t{plan.context};
  plan.kv_tokens = (plan.kv_tokens + kBlockPositions - 1) / kBlockPositions * kBlockPositions;
  return plan;
}

}  // namespace commissure
