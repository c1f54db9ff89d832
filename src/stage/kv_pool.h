#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "core/result.h"
#include "kernels/backend.h"
#include "model/decoder.h"
#include "model/decoder_spec.h"
#include "step/stage_plan.h"

namespace commissure {

/// How many KV blocks a stage's layers have. Layers with a sliding window have fewer blocks, numbered by themselves,
/// since blocks behind the window are used again.
struct KvShape {
  std::int32_t n_blocks = 0;         ///< blocks of each layer that sees every earlier position
  std::int32_t n_window_blocks = 0;  ///< blocks of each layer with a sliding window
  int window = 0;                    ///< positions of the widest window (widest_window); 0: no layer has a window
  std::int32_t n_states = 0;         ///< sequences whose recurrent states are kept; 0: the model has none
};

/// Places for states of each sequence: the one behind its last rows and the one before them (StateTable).
inline constexpr int kStatePlaces = 2;

/// Bytes of one sequence's states in layers [first, last), all places.
std::size_t state_bytes(const DecoderSpec& spec, LayerRange layers);

/// Device memory for a stage's KV blocks: for each layer as many as KvShape says, addressed by block id. Stage A
/// decides which block belongs to which sequence; the pool itself does not know which blocks are free. Recurrent layers
/// have places for states instead (StateTable). Pages become resident when a block or place is first written.
class KvPool {
 public:
  /// Errors: kResourceExhausted, naming the bytes; kInvalidArgument, a number of blocks is not positive or overflows.
  static Result<KvPool> create(Backend& backend, const DecoderSpec& spec, const StagePlan& plan, const KvShape& shape);

  const KvShape& shape() const { return shape_; }
  std::size_t n_bytes() const;
  /// The memory of the keys and values that a layer reads: its own, or its owner's (LayerSpec::kv_owner), of which a
  /// stage behind the owner's keeps a copy. `layer` counts from 0 in the whole model and is one of the stage's, or such
  /// an owner.
  const KvLayer& layer(int layer) const { return layers_[index_.at(layer)]; }
  /// The same of any layer of the stage, recurrent ones too.
  LayerMemory memory(int layer) const;

 private:
  KvPool() = default;
  KvShape shape_;
  std::map<int, std::size_t> index_;  // layer -> layers_
  std::vector<DeviceBuffer> buffers_;
  std::vector<KvLayer> layers_;
  std::map<int, StateLayer> states_;  // layer ->
};

/// How many blocks per layer fit into `budget_bytes`; at least one. The chain's capacity is that of the stage with the
/// fewest blocks.
std::int32_t blocks_within(std::uint64_t budget_bytes, const Backend& backend, const DecoderSpec& spec,
                           const StagePlan& plan);

}  // namespace commissure
