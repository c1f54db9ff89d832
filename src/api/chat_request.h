#pragma once

#include <string>

#include "api/api_options.h"
#include "api/generation_fields.h"
#include "api/plain_text.h"
#include "api/request_images.h"
#include "api/tool_fields.h"

namespace commissure {

/// Messages that a chat may have, in whatever API.
inline constexpr std::size_t kMaxMessages = 10'000;

struct ChatRequest {
  GenerationFields fields;  ///< request complete, prompt included
  bool logprobs = false;
  std::shared_ptr<const AnswerPlan> plan = {};  ///< how the answer is told apart; null: it is text
};

/// Reads a /v1/chat/completions body: messages through the model's template to tokens.
///   images   what take_images took out of the body
/// Errors: 400 naming the field, 404 another model; those of encode_prompt.
/// Threading: any thread; renders and tokenises, so it takes time with the prompt's length, and seconds with images.
ApiResult<ChatRequest> parse_chat_request(const Json& body, const ServedModel& model, const ApiOptions& options,
                                          const Unwanted& is_unwanted = {}, const RequestImages& images = {});

/// `messages` (and template options) of a body as prompt text. Findings go to `fields`.
///   tools     what the model may call, as read_tool_fields gives it
///   sanitize  control tokens that the body spells are plain text
///   n_images  taken out of the body; as many of their marks stand in the prompt, or it is a finding
ChatPrompt render_chat(Fields& fields, const ServedModel& model, const Json& tools, bool sanitize,
                       const Unwanted& is_unwanted, std::size_t n_images = 0);

}  // namespace commissure
