#pragma once

#include <vector>

#include "core/json.h"
#include "core/result.h"
#include "model/decoder_spec.h"
#include "synth/synth_request.h"
#include "weights/write_header.h"

namespace commissure {

/// What a GGUF says of the model that config.json describes, as llama.cpp's converter writes it, without tokenizer.
/// Errors: kUnimplemented, GGUF cannot say it, or not for this family.
Result<GgufPairs> gguf_keys(const SynthRequest& request, const Json& config, const DecoderSpec& spec);

/// How the family's tensors are named in a GGUF.
TensorNaming gguf_naming(const DecoderSpec& spec);

/// Whether the family's converter interleaves the rows of queries and keys.
bool is_interleaved_in_gguf(const DecoderSpec& spec);

/// rope_freqs.weight: what each frequency is divided by, or empty where none is.
std::vector<float> rope_divisors(const Json& config, const DecoderSpec& spec);

}  // namespace commissure
