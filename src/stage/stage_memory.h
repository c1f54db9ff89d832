#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/result.h"
#include "kernels/backend.h"
#include "model/decoder_spec.h"
#include "model/tensor_names.h"
#include "step/stage_plan.h"
#include "weights/checkpoint.h"

namespace commissure {

/// The part of the model that a stage runs: its layers, on the first stage the embedding, on the last the final norm
/// and the head.
ModelPart model_part(const StagePlan& plan);

/// The tensors a stage loads, in order; a tied head makes the last stage load the embedding too.
/// Errors: kInvalidArgument, a tensor is missing or of another shape; or the plan is for another number of layers.
Result<std::vector<TensorInfo>> stage_tensors(const Checkpoint& checkpoint, const DecoderSpec& spec,
                                              const StagePlan& plan);
std::uint64_t total_bytes(const std::vector<TensorInfo>& tensors);

/// Values in a row of the boundary that a stage takes, and of the one it hands on (boundary_layout).
int row_width_in(const DecoderSpec& spec, const StagePlan& plan);
int row_width_out(const DecoderSpec& spec, const StagePlan& plan);

/// Bytes of the stage's tensors and of its columns of the table of per-layer embeddings.
/// Errors: as stage_tensors.
Result<std::uint64_t> stage_bytes(const Checkpoint& checkpoint, const DecoderSpec& spec, const StagePlan& plan);

/// Bytes of one logical KV block over all layers of the stage, with the rows it hands on (RowLog).
std::size_t kv_block_bytes(const Backend& backend, const DecoderSpec& spec, const StagePlan& plan);

/// Bytes of activations and logits a stage allocates beside weights and KV; resident only as far as steps use them.
std::size_t scratch_bytes(const DecoderSpec& spec, const StagePlan& plan, int max_rows);

/// Rows whose logits are computed at once, at most `max_rows`: bounds the logits to about 16 MiB.
int head_rows(const DecoderSpec& spec, int max_rows);

}  // namespace commissure
