#pragma once

#include <string>
#include <vector>

#include "api/api_options.h"
#include "api/chat_request.h"
#include "api/generation_fields.h"

namespace commissure {

struct CompletionRequest {
  GenerationFields fields;                         ///< prompt left empty
  std::vector<std::vector<TokenId>> prompts = {};  ///< each has fields.best_of choices
  std::vector<std::string> echo_texts = {};        ///< per prompt, when `echo`; else empty
  bool logprobs = false;
  int prompt_logprobs = -1;  ///< as asked for; under `echo` the request may have more
};

/// Reads a /v1/completions body: the prompt is a text, a list of texts, token ids or a list of lists of token ids.
/// Errors: 400 naming the field, 404 another model. Threading: as parse_chat_request.
ApiResult<CompletionRequest> parse_completion_request(const Json& body, const ServedModel& model,
                                                      const ApiOptions& options, const Unwanted& is_unwanted = {});

/// /generate: `prompt` or `inputs`, the members of `parameters` (TGI's names) or the same at the top.
ApiResult<CompletionRequest> parse_generate_request(const Json& body, const ServedModel& model,
                                                    const ApiOptions& options, const Unwanted& is_unwanted = {});

}  // namespace commissure
