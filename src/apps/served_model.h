#pragma once

#include <string>

#include "core/result.h"
#include "engine/engine.h"
#include "weights/checkpoint.h"

namespace commissure {

/// The text side of a model: tokenizer, chat template and sampling defaults from the checkpoint's own files.
/// A model without a chat template serves completions only.
/// Errors: kInvalidArgument or kUnimplemented, the tokenizer or template is broken or of an unknown kind.
Result<ServedModel> read_served_model(const Checkpoint& checkpoint, const std::string& name, int context_length);

}  // namespace commissure
