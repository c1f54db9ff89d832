#pragma once

#include "core/result.h"
#include "engine/engine.h"
#include "hub/model_store.h"
#include "serve/chat_choices.h"
#include "weights/checkpoint.h"

namespace commissure {

/// The text side of a model: tokenizer, chat template and sampling defaults from the checkpoint's own files.
/// `local` names it and brings the defaults of a model whose file has none. A model without a chat template serves
/// completions only, and so does one whose template does not compile: its chat_template_problem says why.
/// `chat`: what stands in place of the model's own template and of what it tells of the model's answers.
/// Errors: kInvalidArgument or kUnimplemented, the tokenizer is broken or of an unknown kind, or so is the template
/// that was asked for; kNotFound, there is none of that name.
Result<ServedModel> read_served_model(const Checkpoint& checkpoint, const LocalModel& local, int context_length,
                                      const ChatChoices& chat = {});

}  // namespace commissure
