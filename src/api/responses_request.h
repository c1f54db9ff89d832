#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "api/api_error.h"
#include "core/json.h"

namespace commissure {

/// Pairs that `metadata` may have, and characters of a key and of a value.
inline constexpr std::size_t kMaxMetadata = 16;
inline constexpr std::int64_t kMaxMetadataKey = 64;
inline constexpr std::int64_t kMaxMetadataValue = 512;

/// What a body of OpenAI's Responses API asks for.
struct ResponsesRequest {
  Json chat = {};                          ///< the body of a chat (/v1/chat/completions) that asks for the same
  Json echo = {};                          ///< members of the response that tell what was asked, as it is honoured
  std::vector<std::string> left_out = {};  ///< kinds of tools that no server but OpenAI's runs: the model is not told
                                           ///< of them
};

/// Reads it. What changes no answer here (`store`, `user`, `prompt_cache_key`, ...) is left out; what needs an answer
/// that was kept is refused, as none is.
/// Errors: 400 naming the field as the Responses API calls it. Ranges of what both APIs call the same, and functions
/// that `tool_choice` names, are left to the chat.
ApiResult<ResponsesRequest> read_responses(const Json& body);

/// A finding of the chat about the translated body, under the names of the Responses API.
ApiError in_responses_terms(ApiError error);

}  // namespace commissure
