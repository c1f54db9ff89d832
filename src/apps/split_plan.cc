#include "apps/split_plan.h"

#include <algorithm>
#include <limits>

#include "model/tensor_names.h"
#include "stage/stage_memory.h"
#include "step/step_batch.h"

namespace commissure {

namespace {

constexpr int kDefaultContext = 8192;
constexpr std::int64_t kMostBlocks = std::numeric_limits<std::int32_t>::max();

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

Result<ContextPlan> plan_context(const DecoderSpec& spec, std::span<const int> cuts, const ContextWish& wish) {
  ContextPlan plan;
  plan.context =
      wish.max_model_len > 0 ? std::min(wish.max_model_len, spec.n_context) : std::min(spec.n_context, kDefaultContext);
  std::int64_t n_blocks = 0;
  if (wish.kv_memory > 0) {
    std::uint64_t block_bytes = 0;
    for (const StagePlan& stage : TRY(plan_stages(spec.n_layers(), cuts)))
      block_bytes = std::max(block_bytes, kBlockPositions * kv_position_bytes(spec, stage.layers));
    n_blocks = static_cast<std::int64_t>(std::min<std::uint64_t>(wish.kv_memory / block_bytes, kMostBlocks));
    if (n_blocks == 0) {
      return Error(Code::kInvalidArgument, "--kv-memory is ", wish.kv_memory, " bytes; one block of ", kBlockPositions,
                   " positions takes ", block_bytes);
    }
  } else {
    const std::int64_t tokens = wish.kv_tokens > 0 ? wish.kv_tokens : 4 * std::int64_t{plan.context};
    n_blocks = (tokens - 1) / kBlockPositions + 1;
  }
  if (n_blocks > kMostBlocks) {
    return Error(Code::kInvalidArgument, "--kv-tokens is ", wish.kv_tokens, "; at most ", kMostBlocks * kBlockPositions,
                 " can be counted");
  }
  plan.kv_tokens = n_blocks * kBlockPositions;
  return plan;
}

}  // namespace commissure
