#pragma once

#include <optional>
#include <vector>

#include "core/json.h"
#include "core/result.h"
#include "synth/random_tensor.h"
#include "synth/shapes.h"
#include "synth/synth_request.h"

namespace commissure {

/// The tokens that stand for images in a vocabulary.
struct ImageTokens {
  int begin, end, row;
};

/// Whether a model of this shape may have an image encoder.
bool may_see(const Shape& shape);

/// The published ids, or the last three of a vocabulary that does not have them.
ImageTokens image_tokens(int n_vocab);

/// config.json of a model with an image encoder around that of its text model; scaled down, an encoder of two layers
/// and 16 rows for an image.
Json config_with_vision(const SynthRequest& request, const Json& text);

/// The encoder's tensors as the hub names them, without places. `config`: config_with_vision.
std::vector<RandomTensor> random_vision_tensors(const SynthRequest& request, const Json& config);

}  // namespace commissure
