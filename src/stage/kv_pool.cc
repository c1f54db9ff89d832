#include "stage/kv_pool.h"

#include <algorithm>
#include <limits>

#include "core/index.h"
#include "model/boundary_layout.h"
#include "stage/stage_memory.h"

namespace commissure {

Result<KvPool> KvPool::create(Backend& backend, const DecoderSpec& spec, const StagePlan& plan, const KvShape& shape) {
  KvPool pool;
  pool.shape_ = shape;
  for (const int layer : kept_kv(spec, plan.layers.first, plan.layers.last)) {
    const LayerSpec& layer_spec = spec.layers[layer];
    const HeadLayout& heads = layer_spec.heads;
    const std::int32_t n_blocks = layer_spec.window > 0 ? shape.n_window_blocks : shape.n_blocks;
    if (n_blocks <= 0) return Error(Code::kInvalidArgument, "a layer needs at least one KV block, got ", n_blocks);
    const std::size_t block_bytes = backend.kv_block_bytes(heads, spec.kv_type);
    if (block_bytes > std::numeric_limits<std::size_t>::max() / 2 / to_size(n_blocks)) {
      return Error(Code::kInvalidArgument, n_blocks, " KV blocks of ", block_bytes, " bytes overflow; ask for fewer");
    }
    Result<DeviceBuffer> buffer = backend.allocate(n_blocks * block_bytes);
    if (!buffer) return buffer.error().within("KV cache (ask for fewer blocks)");
    pool.index_[layer] = pool.layers_.size();
    pool.layers_.push_back({buffer->ptr(), heads, spec.kv_type});
    pool.buffers_.push_back(std::move(*buffer));
  }
  for (int layer = plan.layers.first; layer < plan.layers.last; ++layer) {
    const LayerSpec& layer_spec = spec.layers[layer];
    if (!layer_spec.is_recurrent()) continue;
    if (shape.n_states <= 0) {
      return Error(Code::kInvalidArgument, "layer ", layer, " is recurrent: there must be room for a state at least");
    }
    const std::size_t n_floats = n_elements(shape.n_states, kStatePlaces) * layer_spec.delta.state_floats();
    Result<DeviceBuffer> buffer = backend.allocate(n_floats * sizeof(float));
    if (!buffer) return buffer.error().within("recurrent states (ask for fewer sequences at once)");
    pool.states_[layer] = {buffer->ptr(), layer_spec.delta};
    pool.buffers_.push_back(std::move(*buffer));
  }
  for (int layer = plan.layers.first; layer < plan.layers.last; ++layer) {
    if (const int owner = spec.layers[layer].kv_owner; owner >= 0) pool.index_[layer] = pool.index_.at(owner);
  }
  return pool;
}

LayerMemory KvPool::memory(int layer) const {
  const auto state = states_.find(layer);
  return state == states_.end() ? LayerMemory(this->layer(layer)) : LayerMemory(state->second);
}

std::size_t state_bytes(const DecoderSpec& spec, LayerRange layers) {
  std::size_t floats = 0;
  for (int layer = layers.first; layer < layers.last; ++layer) {
    const LayerSpec& layer_spec = spec.layers[layer];
    if (layer_spec.is_recurrent()) floats += layer_spec.delta.state_floats();
  }
  return kStatePlaces * floats * sizeof(float);
}

std::size_t KvPool::n_bytes() const {
  std::size_t bytes = 0;
  for (const DeviceBuffer& buffer : buffers_) bytes += buffer.n_bytes();
  return bytes;
}

std::int32_t blocks_within(std::uint64_t budget_bytes, const Backend& backend, const DecoderSpec& spec,
                           const StagePlan& plan) {
  const std::uint64_t blocks = budget_bytes / std::max<std::size_t>(1, kv_block_bytes(backend, spec, plan));
  constexpr std::uint64_t kMost = std::numeric_limits<std::int32_t>::max();
  return static_cast<std::int32_t>(std::clamp<std::uint64_t>(blocks, 1, kMost));
}

}  // namespace commissure
