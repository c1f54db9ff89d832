#pragma once

#include <functional>
#include <string>

#include "api/api_options.h"
#include "api/generation_fields.h"
#include "api/plain_text.h"
#include "api/tool_fields.h"

namespace commissure {

struct ChatRequest {
  GenerationFields fields;  ///< request complete, prompt included
  bool logprobs = false;
  std::shared_ptr<const AnswerPlan> plan = {};  ///< how the answer is told apart; null: it is text
};

/// Whether nobody waits for an answer any more; empty: somebody does.
using Unwanted = std::function<bool()>;

/// Reads a /v1/chat/completions body: messages through the model's template to tokens.
/// Errors: 400 naming the field, 404 another model.
/// Threading: any thread; renders and tokenises, so it takes time with the prompt's length.
ApiResult<ChatRequest> parse_chat_request(const Json& body, const ServedModel& model, const ApiOptions& options,
                                          const Unwanted& is_unwanted = {});

/// `messages` (and template options) of a body as prompt text. Findings go to `fields`.
///   tools     what the model may call, as read_tool_fields gives it
///   sanitize  control tokens that the body spells are plain text
ChatPrompt render_chat(Fields& fields, const ServedModel& model, const Json& tools, bool sanitize,
                       const Unwanted& is_unwanted);

/// The served name and its aliases.
std::vector<std::string> model_names(const ServedModel& model, const ApiOptions& options);

}  // namespace commissure
