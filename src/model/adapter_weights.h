#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/result.h"
#include "kernels/backend.h"
#include "kernels/low_rank.h"
#include "model/decoder_spec.h"
#include "model/tensor_names.h"
#include "weights/adapter_reader.h"
#include "weights/checkpoint.h"

namespace commissure {

/// The matrices of a layer that adapters change.
enum class AdapterSite : std::uint8_t { kQuery, kKey, kValue, kAttentionOutput, kGate, kUp, kDown };
inline constexpr std::size_t kAdapterSites = 7;

/// What an adapter adds to a layer's products; null: nothing.
struct LayerAdapter {
  std::array<std::unique_ptr<LowRank>, kAdapterSites> sites;

  const LowRank* at(AdapterSite site) const { return sites[static_cast<std::size_t>(site)].get(); }
};

/// One part's share of an adapter on the device.
struct AdapterWeights {
  std::vector<LayerAdapter> layers;  ///< the part's layers, first layer first
  std::uint64_t n_bytes = 0;
};

/// Loads the part's share of an adapter; the whole adapter's names and shapes are checked. DoRA's lengths of rows are
/// those of the checkpoint's matrices as it stores or makes them, which are read for it one after the other.
/// Any thread, also while the part runs. Errors: as find_adapter_shares, AdapterReader::load, Backend::load_low_rank
/// and Checkpoint::load. After an error nothing stays loaded.
Result<AdapterWeights> load_adapter(Backend& backend, const Checkpoint& checkpoint, const DecoderSpec& spec,
                                    const ModelPart& part, const AdapterReader& reader);

}  // namespace commissure
