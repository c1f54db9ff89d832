#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"
#include "model/decoder_spec.h"
#include "stage/kv_pool.h"
#include "step/stage_plan.h"
#include "step/step_batch.h"
#include "weights/checkpoint.h"

namespace commissure {

/// Context length in positions where the user asks for none; a model's own limit may be lower.
inline constexpr int kDefaultContext = 8192;

/// What one stage would hold.
struct StageEstimate {
  StagePlan plan;
  std::uint64_t weight_bytes = 0;
  std::uint64_t kv_bytes = 0;
  std::uint64_t state_bytes = 0;    ///< recurrent states of all sequences at once
  std::uint64_t row_log_bytes = 0;  ///< the rows it handed on, kept to rebuild the next stage; 0 on the last
  std::uint64_t scratch_bytes = 0;  ///< activations
  std::uint64_t total_bytes() const { return weight_bytes + kv_bytes + state_bytes + row_log_bytes + scratch_bytes; }
};

/// The memory of every stage for given cuts. Errors: kInvalidArgument, cuts that do not fit the model.
Result<std::vector<StageEstimate>> estimate_stages(const Checkpoint& checkpoint, const DecoderSpec& spec,
                                                   std::span<const int> cuts, const KvShape& kv, int max_step_rows);

/// Cuts that level the stages' bytes. Errors: as balance_cuts.
Result<std::vector<int>> choose_cuts(const Checkpoint& checkpoint, const DecoderSpec& spec, int n_stages);

/// Makes `checkpoint` hand out each stage's matrices as `quants` (parse_quants) says, so that all that counts bytes
/// counts the quantised ones. Errors: kInvalidArgument, as parse_quants and quantise_at_load, or cuts that do not fit.
Status quantise_stages(Checkpoint& checkpoint, const DecoderSpec& spec, std::span<const int> cuts,
                       std::string_view quants);

/// Bytes of one layer's tensors.
std::uint64_t layer_bytes(const Checkpoint& checkpoint, const DecoderSpec& spec, int layer);

/// Context and KV size as flags ask for them; 0 stands for the default that the comment names.
struct ContextWish {
  int max_model_len = 0;        ///< positions; default: the smaller of the model's context and 8192
  std::int64_t kv_tokens = 0;   ///< positions; default: as many as kv_memory holds, or four full contexts
  std::uint64_t kv_memory = 0;  ///< bytes of KV cache, row log and recurrent states where they are most
  int max_sequences = 64;
  int max_step_rows = 512;
};

/// Context length and KV capacity, the same on every stage of the chain. Layers with a sliding window get the blocks
/// that max_sequences windows and the chunks of a prompt in flight can span, but never more than the other layers get.
/// Recurrent layers keep the states of max_sequences.
struct ContextPlan {
  int context = 0;
  KvShape kv;
  std::int64_t kv_tokens() const { return std::int64_t{kv.n_blocks} * kBlockPositions; }
};

/// Works out the context and KV capacity of a chain. Errors: kInvalidArgument, cuts that do not fit the model, or
/// memory for less than one block.
Result<ContextPlan> plan_context(const DecoderSpec& spec, std::span<const int> cuts, const ContextWish& wish);

}  // namespace commissure
