#pragma once

#include <memory>

#include "core/result.h"
#include "synth/synth_request.h"
#include "weights/checkpoint.h"

namespace commissure {

/// A model of random weights as a checkpoint whose files lie nowhere: bytes are made when they are read, those of a
/// layer alike in the whole model and in a span of its layers. write_model() makes files of it.
///   tokenizer  the model whose tokenizer and templates it gets, of the same format; null: one of its own. Not kept.
/// Errors: kInvalidArgument, the tokenizer has more tokens than the shape, or is of the other format; as gguf_keys and
/// Tokenizer.
Result<std::unique_ptr<Checkpoint>> make_synth_model(const SynthRequest& request, const Checkpoint* tokenizer = nullptr,
                                                     Vocabulary vocabulary = Vocabulary::kKeep);

/// Bytes of all tensors of the model. Errors: as make_synth_model.
Result<std::uint64_t> synth_bytes(const SynthRequest& request);

}  // namespace commissure
