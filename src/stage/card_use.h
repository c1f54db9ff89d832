#pragma once

#include <cstdint>

#include "core/result.h"
#include "model/decoder_spec.h"
#include "step/stage_plan.h"
#include "weights/checkpoint.h"

namespace commissure {

/// What a stage takes of a GPU's memory beside its keys, values and activations, which take there what they take
/// anywhere.
struct CardUse {
  std::uint64_t weight_bytes = 0;   ///< as they lie there
  std::uint64_t load_bytes = 0;     ///< the most at once while they are loaded: with what the one being packed is of
  std::uint64_t product_bytes = 0;  ///< at most, of what the backend keeps between operations, small tables left out
};

/// Errors: as stage_tensors.
Result<CardUse> card_use(const Checkpoint& checkpoint, const DecoderSpec& spec, const StagePlan& plan, int max_rows);

}  // namespace commissure
