#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"
#include "model/decoder_spec.h"
#include "step/stage_plan.h"
#include "weights/checkpoint.h"

namespace commissure {

/// What one stage would hold.
struct StageEstimate {
  StagePlan plan;
  std::uint64_t weight_bytes = 0;
  std::uint64_t kv_bytes = 0;       ///< for `kv_tokens` positions
  std::uint64_t scratch_bytes = 0;  ///< activations
};

/// The memory of every stage for given cuts. Errors: kInvalidArgument, cuts that do not fit the model.
Result<std::vector<StageEstimate>> estimate_stages(const Checkpoint& checkpoint, const DecoderSpec& spec,
                                                   std::span<const int> cuts, std::int64_t kv_tokens,
                                                   int max_step_rows);

/// Cuts that level the stages' bytes. Errors: as balance_cuts.
Result<std::vector<int>> choose_cuts(const Checkpoint& checkpoint, const DecoderSpec& spec, int n_stages);

/// Bytes of one layer's tensors.
std::uint64_t layer_bytes(const Checkpoint& checkpoint, const DecoderSpec& spec, int layer);

/// Context length and KV capacity that flags, model and defaults make: the smaller of the model's context and 8192
/// unless `max_model_len` says otherwise; room for four full contexts unless `kv_tokens` does.
struct ContextPlan {
  int context = 0;
  std::int64_t kv_tokens = 0;
};
ContextPlan plan_context(const DecoderSpec& spec, int max_model_len, std::int64_t kv_tokens);

}  // namespace commissure
