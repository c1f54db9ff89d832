#include "stage/stage_memory.h"

#include <algorithm>

#include "core/index.h"
#include "model/boundary_layout.h"
#include "model/decoder.h"
#include "stage/row_log.h"

namespace commissure {

ModelPart model_part(const StagePlan& plan) {
  return {plan.layers.first, plan.layers.last, plan.is_first(), plan.is_last()};
}

int row_width_in(const DecoderSpec& spec, const StagePlan& plan) {
  return boundary_layout(spec, plan.layers.first).width;
}

int row_width_out(const DecoderSpec& spec, const StagePlan& plan) {
  return boundary_layout(spec, plan.layers.last).width;
}

Result<std::uint64_t> stage_bytes(const Checkpoint& checkpoint, const DecoderSpec& spec, const StagePlan& plan) {
  return total_bytes(TRY(stage_tensors(checkpoint, spec, plan))) + TRY(table_bytes(checkpoint, spec, model_part(plan)));
}

Result<std::vector<TensorInfo>> stage_tensors(const Checkpoint& checkpoint, const DecoderSpec& spec,
                                              const StagePlan& plan) {
  const LayerRange& layers = plan.layers;
  if (plan.n_model_layers != spec.n_layers() || layers.first < 0 || layers.first >= layers.last ||
      layers.last > spec.n_layers()) {
    return Error(Code::kInvalidArgument, "stage ", plan.name(), " is planned for layers ", layers.first, "-",
                 layers.last, " of ", plan.n_model_layers, ", ", checkpoint.location(), " has ", spec.n_layers());
  }
  return part_tensors(checkpoint, spec, model_part(plan));
}

std::uint64_t total_bytes(const std::vector<TensorInfo>& tensors) {
  std::uint64_t total = 0;
  for (const TensorInfo& tensor : tensors) total += tensor.n_bytes;
  return total;
}

std::size_t kv_block_bytes(const Backend& backend, const DecoderSpec& spec, const StagePlan& plan) {
  std::size_t bytes = 0;
  for (const int layer : kept_kv(spec, plan.layers.first, plan.layers.last)) {
    bytes += backend.kv_block_bytes(spec.layers[layer].heads, spec.kv_type);
  }
  if (!plan.is_last()) bytes += RowLog::block_bytes(row_width_out(spec, plan));
  return bytes;
}

std::size_t scratch_bytes(const DecoderSpec& spec, const StagePlan& plan, int max_rows) {
  std::size_t bytes = Decoder::scratch_bytes(spec, model_part(plan), max_rows);
  if (plan.is_last()) {
    bytes += n_elements(head_rows(spec, max_rows), spec.n_vocab) * sizeof(float);
  }
  bytes += n_elements(max_rows, std::max(row_width_in(spec, plan), row_width_out(spec, plan))) * sizeof(bf16);
  return bytes;
}

int head_rows(const DecoderSpec& spec, int max_rows) {
  constexpr int kLogitsBytes = 16 << 20;
  const int rows = kLogitsBytes / static_cast<int>(sizeof(float)) / spec.n_vocab;
  return std::clamp(rows, 1, std::min(max_rows, 64));
}

}  // namespace commissure
