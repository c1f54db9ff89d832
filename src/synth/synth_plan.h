#pragma once

#include <vector>

#include "core/json.h"
#include "core/result.h"
#include "model/decoder_spec.h"
#include "synth/random_tensor.h"
#include "synth/synth_request.h"

namespace commissure {

/// What is known of a made-up model before any of its weights.
struct SynthPlan {
  SynthRequest request;
  Json config;        ///< of the request's layers, and of its image encoder
  DecoderSpec whole;  ///< of all layers of the shape, each matrix named by itself as safetensors name it
  DecoderSpec part;   ///< of the request's layers, named as its format does
};

/// Errors: as check_part and spec_from_config.
Result<SynthPlan> plan_synth(const SynthRequest& request);

/// The tensors of the model's file in the order of their use, without places. Their values hang on what the whole model
/// calls them, so parts and formats have the same.
std::vector<RandomTensor> random_tensors(const SynthPlan& plan);

}  // namespace commissure
