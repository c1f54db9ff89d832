#pragma once

#include "api/fields.h"
#include "core/json.h"

namespace commissure {

/// `instructions` and `input` of a body of the Responses API as messages of a chat: turns of one role that follow each
/// other are one, and what functions answered are messages of their own. Findings go to `fields`.
Json chat_of_input(Fields& fields);

}  // namespace commissure
