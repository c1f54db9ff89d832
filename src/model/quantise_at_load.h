#pragma once

#include "core/result.h"
#include "model/decoder_spec.h"
#include "model/tensor_names.h"
#include "weights/checkpoint.h"
#include "weights/quantisation.h"

namespace commissure {

/// From now on `checkpoint` hands out the matrices of `part` as `wish` says. Parts of one model may be told apart, one
/// after the other.
/// Errors: kInvalidArgument, the model's layers are quantised already; kUnimplemented, a tensor of the files holds
/// several of its matrices; as part_tensors.
Status quantise_at_load(Checkpoint& checkpoint, const DecoderSpec& spec, const ModelPart& part, QuantWish wish);

}  // namespace commissure
