#pragma once

#include "core/result.h"
#include "hub/model_store.h"
#include "model/layer_weights.h"

namespace commissure {

/// Writes a model's pack file for this CPU. Errors: as Checkpoint::open, read_decoder_spec and pack_weights.
Result<PackedModel> pack_model(const LocalModel& model);

/// Writes the pack file of a model in the cache when it has none yet and the model is so small that packing takes a
/// moment. Prints that it does so, or what kept it from doing so. Larger models, and models outside the cache, are left
/// alone.
void pack_small_model(const LocalModel& model);

}  // namespace commissure
