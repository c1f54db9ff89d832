#pragma once

#include "model/decoder_spec.h"
#include "model/tensor_names.h"

namespace commissure {

/// How the values of a tensor are spread.
struct Spread {
  double mean = 0.0;
  double deviation = 0.0;

  bool operator==(const Spread&) const = default;
};

/// Of a tensor of a whole model, so that its activations stay between 0.1 and 100 in rms through all layers, and its
/// logits are spread enough for an answer to be one. Norms are meant as they multiply: where a file stores w of (1 +
/// w), one less is stored. Additions, products, quotients and square roots alone, so the same on every machine.
Spread spread_of(const ExpectedTensor& tensor, const DecoderSpec& spec);

}  // namespace commissure
