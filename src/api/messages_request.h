#pragma once

#include "api/api_error.h"
#include "core/json.h"

namespace commissure {

/// What a body of the Messages API is sent for.
enum class MessagesUse { kAnswer, kCount };

/// The body of a chat (/v1/chat/completions) that asks for the same as a body of Anthropic's Messages API. What changes
/// no answer here (`metadata`, `cache_control`, ...) is left out.
/// Errors: 400 naming the field as the Messages API calls it. Ranges of what both APIs call the same, and functions
/// that `tool_choice` names, are left to the chat.
ApiResult<Json> chat_from_messages(const Json& body, MessagesUse use);

}  // namespace commissure
