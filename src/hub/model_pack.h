#pragma once

#include "core/result.h"
#include "hub/model_store.h"
#include "model/layer_weights.h"

namespace commissure {

/// Writes a model's pack file for this CPU. Errors: as Checkpoint::open, read_decoder_spec and pack_weights.
Result<PackedModel> pack_model(const LocalModel& model);

/// Packs a model of the cache that has no pack file yet and is small enough that nobody waits for it; says so, and
/// says what kept it from being packed. Larger models and other people's folders are left alone.
void pack_small_model(const LocalModel& model);

}  // namespace commissure
