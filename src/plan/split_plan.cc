#include "plan/split_plan.h"

#include <algorithm>
#include <limits>

#include "core/index.h"
#include "model/boundary_layout.h"
#include "model/quantise_at_load.h"
#include "model/tensor_names.h"
#include "stage/row_log.h"
#include "stage/stage_memory.h"
#include "step/step_batch.h"
#include "weights/quantisation.h"

namespace commissure {

namespace {

constexpr std::int64_t kMostBlocks = std::numeric_limits<std::int32_t>::max();

// read_decoder_spec checked every tensor already.
std::uint64_t part_bytes(const Checkpoint& checkpoint, const DecoderSpec& spec, const ModelPart& part) {
  const auto tensors = part_tensors(checkpoint, spec, part);
  return tensors ? total_bytes(*tensors) : 0;
}

/// Bytes of one KV block in a stage's layers with and without a window.
struct BlockBytes {
  std::uint64_t all = 0, window = 0;

  std::uint64_t of(const KvShape& kv) const {
    return all * static_cast<std::uint64_t>(kv.n_blocks) + window * static_cast<std::uint64_t>(kv.n_window_blocks);
  }
};

BlockBytes block_bytes(const DecoderSpec& spec, const StagePlan& plan) {
  BlockBytes bytes;
  for (const int i : kept_kv(spec, plan.layers.first, plan.layers.last)) {
    const LayerSpec& layer = spec.layers[i];
    (layer.window > 0 ? bytes.window : bytes.all) +=
        kBlockPositions * kv_position_bytes(spec.kv_type, layer.heads.n_kv_heads, layer.heads.head_dim);
  }
  return bytes;
}

/// Bytes of the rows a stage keeps of what it handed on.
std::uint64_t row_log_bytes(const DecoderSpec& spec, const StagePlan& plan, const KvShape& kv) {
  return plan.is_last() ? 0 : RowLog::block_bytes(row_width_out(spec, plan)) * static_cast<std::uint64_t>(kv.n_blocks);
}

/// Bytes of a stage that grow with the sequences at once, not with their lengths.
std::uint64_t states_of(const DecoderSpec& spec, const StagePlan& plan, const KvShape& kv) {
  return state_bytes(spec, plan.layers) * static_cast<std::uint64_t>(kv.n_states);
}

/// Both kinds of blocks for `n_blocks` of those that grow with the context.
KvShape kv_shape(const DecoderSpec& spec, std::int64_t n_blocks, std::size_t n_stages, const ContextWish& wish) {
  KvShape kv = {static_cast<std::int32_t>(n_blocks), 0, widest_window(spec), has_states(spec) ? wish.max_sequences : 0};
  if (kv.window == 0) return kv;
  const std::int64_t spanned = blocks_for(kv.window - 1) + 1;
  const std::int64_t in_flight = static_cast<std::int64_t>(n_stages + 1) * blocks_for(wish.max_step_rows);
  kv.n_window_blocks = static_cast<std::int32_t>(std::min(n_blocks, wish.max_sequences * spanned + in_flight));
  return kv;
}

/// The most blocks whose bytes fit on every stage; 0: not even one does.
Result<std::int64_t> blocks_in_memory(const DecoderSpec& spec, std::span<const int> cuts, const ContextWish& wish) {
  const std::vector<StagePlan> stages = TRY(plan_stages(spec.n_layers(), cuts));
  const auto fits = [&](std::int64_t n_blocks) {
    const KvShape kv = kv_shape(spec, n_blocks, stages.size(), wish);
    return std::ranges::all_of(stages, [&](const StagePlan& stage) {
      return block_bytes(spec, stage).of(kv) + row_log_bytes(spec, stage, kv) + states_of(spec, stage, kv) <=
             wish.kv_memory;
    });
  };
  std::int64_t low = 0, high = kMostBlocks;
  while (low < high) {
    const std::int64_t middle = (low + high + 1) / 2;
    fits(middle) ? low = middle : high = middle - 1;
  }
  return low;
}

}  // namespace

std::uint64_t layer_bytes(const Checkpoint& checkpoint, const DecoderSpec& spec, int layer) {
  return part_bytes(checkpoint, spec, {layer, layer + 1, false, false}) +
         table_bytes(checkpoint, spec, {layer, layer + 1, false, false}).value_or(0);
}

Result<std::vector<int>> choose_cuts(const Checkpoint& checkpoint, const DecoderSpec& spec, int n_stages) {
  std::vector<std::uint64_t> layers;
  // Embeddings, a layer's own too, are looked up row by row, which costs no time, so only the head weighs at the ends.
  for (int layer = 0; layer < spec.n_layers(); ++layer) {
    layers.push_back(part_bytes(checkpoint, spec, {layer, layer + 1, false, false}));
  }
  return balance_cuts(layers, 0, part_bytes(checkpoint, spec, {0, 0, false, true}), n_stages);
}

Status quantise_stages(Checkpoint& checkpoint, const DecoderSpec& spec, std::span<const int> cuts,
                       std::string_view quants) {
  const std::vector<StagePlan> stages = TRY(plan_stages(spec.n_layers(), cuts));
  const auto wishes = parse_quants(quants, count_of(stages));
  if (!wishes) return wishes.error().within("--quant");
  if (const Status fit = check_stage_quants(spec, *wishes); !fit) return fit.error().within("--quant");
  for (std::size_t i = 0; i < stages.size(); ++i) {
    TRY(quantise_at_load(checkpoint, spec, model_part(stages[i]), (*wishes)[i]));
  }
  return {};
}

Result<std::vector<StageEstimate>> estimate_stages(const Checkpoint& checkpoint, const DecoderSpec& spec,
                                                   std::span<const int> cuts, const KvShape& kv, int max_step_rows) {
  std::vector<StageEstimate> estimates;
  for (const StagePlan& plan : TRY(plan_stages(spec.n_layers(), cuts))) {
    estimates.push_back({plan, TRY(stage_bytes(checkpoint, spec, plan)), block_bytes(spec, plan).of(kv),
                         states_of(spec, plan, kv), row_log_bytes(spec, plan, kv),
                         scratch_bytes(spec, plan, max_step_rows)});
  }
  return estimates;
}

Result<ContextPlan> plan_context(const DecoderSpec& spec, std::span<const int> cuts, const ContextWish& wish) {
  ContextPlan plan;
  plan.context =
      wish.max_model_len > 0 ? std::min(wish.max_model_len, spec.n_context) : std::min(spec.n_context, kDefaultContext);
  const std::int64_t tokens = wish.kv_tokens > 0 ? wish.kv_tokens : 4 * std::int64_t{plan.context};
  std::int64_t n_blocks = (tokens - 1) / kBlockPositions + 1;
  if (wish.kv_memory > 0) n_blocks = TRY(blocks_in_memory(spec, cuts, wish));
  if (n_blocks == 0 && has_states(spec)) {
    std::uint64_t most = 0;
    for (const StagePlan& stage : TRY(plan_stages(spec.n_layers(), cuts))) {
      most = std::max(most, std::uint64_t{state_bytes(spec, stage.layers)});
    }
    return Error(Code::kInvalidArgument, "--kv-memory is ", wish.kv_memory, " bytes; the recurrent states of ",
                 wish.max_sequences, " sequences take ", most * static_cast<std::uint64_t>(wish.max_sequences),
                 " of them, which leaves no block of ", kBlockPositions,
                 " positions: give more, or lower --max-num-seqs");
  }
  if (n_blocks == 0) {
    return Error(Code::kInvalidArgument, "--kv-memory is ", wish.kv_memory, " bytes; that is less than one block of ",
                 kBlockPositions, " positions in the layers of a stage");
  }
  if (n_blocks > kMostBlocks) {
    return Error(Code::kInvalidArgument, "--kv-tokens is ", wish.kv_tokens, "; at most ", kMostBlocks * kBlockPositions,
                 " can be counted");
  }
  plan.kv = kv_shape(spec, n_blocks, cuts.size() + 1, wish);
  return plan;
}

}  // namespace commissure
