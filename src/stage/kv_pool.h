#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/result.h"
#include "kernels/backend.h"
#include "model/decoder_spec.h"
#include "step/stage_plan.h"

namespace commissure {

/// KV blocks of one model. Layers with a sliding window have a pool of their own, since old blocks leave it.
struct KvShape {
  std::int32_t n_blocks = 0;         ///< of each layer that sees every earlier position
  std::int32_t n_window_blocks = 0;  ///< of each layer with a window
  int window = 0;                    ///< the widest of them (widest_window); 0: no layer has one
};

/// Device memory for the KV blocks of a stage, as many per layer as its kind has, addressed by block id. Which block
/// belongs to whom is decided on stage A; a pool has no notion of free. Pages become resident when a block is first
/// written.
class KvPool {
 public:
  /// Errors: kResourceExhausted, naming the bytes; kInvalidArgument, a number of blocks is not positive or overflows.
  static Result<KvPool> create(Backend& backend, const DecoderSpec& spec, const StagePlan& plan, const KvShape& shape);

  const KvShape& shape() const { return shape_; }
  std::size_t n_bytes() const;
  /// `layer` counts from 0 in the whole model and is one of the stage's.
  const KvLayer& layer(int layer) const { return layers_[static_cast<std::size_t>(layer - first_layer_)]; }

 private:
  KvPool() = default;
  KvShape shape_;
  int first_layer_ = 0;
  std::vector<DeviceBuffer> buffers_;
  std::vector<KvLayer> layers_;
};

/// Blocks that fit `budget_bytes`; at least one. The chain's capacity is the smallest of its stages.
std::int32_t blocks_within(std::uint64_t budget_bytes, const Backend& backend, const DecoderSpec& spec,
                           const StagePlan& plan);

}  // namespace commissure
