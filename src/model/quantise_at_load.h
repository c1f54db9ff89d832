#pragma once

#include <span>

#include "core/result.h"
#include "model/decoder_spec.h"
#include "model/tensor_names.h"
#include "weights/checkpoint.h"
#include "weights/quantisation.h"

namespace commissure {

/// Whether the layers' matrices can be quantised while they are loaded. `checkpoint` is null where only the model's
/// configuration is known.
/// Errors: kInvalidArgument, one is quantised already; kUnimplemented, one is a part of a tensor, or of experts.
Status check_quantisable(const DecoderSpec& spec, const Checkpoint* checkpoint);

/// Whether one model can be quantised so by its stages. Errors: kInvalidArgument, as check_tied_quants.
Status check_stage_quants(const DecoderSpec& spec, std::span<const QuantWish> stages);
/// The same of a model whose head is its embedding. Errors: kInvalidArgument, the first stage and the last, which both
/// hold it, would make different things of it.
Status check_tied_quants(std::span<const QuantWish> stages);

/// From now on `checkpoint` hands out the matrices of `part` as `wish` says. Parts of one model may be told apart, one
/// after the other. Errors: as check_quantisable and part_tensors.
Status quantise_at_load(Checkpoint& checkpoint, const DecoderSpec& spec, const ModelPart& part, QuantWish wish);

}  // namespace commissure
