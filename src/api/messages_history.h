#pragma once

#include "api/fields.h"
#include "core/json.h"

namespace commissure {

/// `system` and `messages` of a body of the Messages API as messages of a chat: turns of one role that follow each
/// other are one, what tools answered are messages of their own, and each content is one text, or a list of parts where
/// images are beside it (is_taken_image). Findings go to `fields`.
Json chat_history(Fields& fields);

}  // namespace commissure
