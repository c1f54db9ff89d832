#pragma once

#include "core/json.h"

namespace commissure {

/// Messages for a template in Harmony (gpt-oss), which takes less than clients send: an assistant's content is a text,
/// if an empty one; beside a call there is a content or there are thoughts (`thinking`), so both become thoughts; and
/// of several calls each gets a message of its own, which its result follows.
///   messages  each with a role, an assistant's with a content
Json harmony_messages(Json messages);

/// Tools for such a template, which wants a description of each function.
///   tools  as in ToolFields
Json harmony_tools(Json tools);

}  // namespace commissure
