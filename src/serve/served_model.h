#pragma once

#include "core/result.h"
#include "engine/engine.h"
#include "hub/model_store.h"
#include "weights/checkpoint.h"

namespace commissure {

/// The text side of a model: tokenizer, chat template and sampling defaults from the checkpoint's own files.
/// `local` gives the model's name, and the sampling defaults of a model whose file has none. A model without a chat
/// template serves completions only.
/// Errors: kInvalidArgument or kUnimplemented, the tokenizer or template is broken or of an unknown kind.
Result<ServedModel> read_served_model(const Checkpoint& checkpoint, const LocalModel& local, int context_length);

}  // namespace commissure
