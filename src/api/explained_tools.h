#pragma once

#include "core/json.h"

namespace commissure {

/// Messages for a template that knows no tools: a text that explains them, calls as the model is told to write them,
/// and what tools answered as the user's. Neighbours of one role become one message where that takes a change of the
/// messages.
///   messages    not empty, each with a role
///   has_system  whether the explanation may be a system message; else it stands before the user's first text
Json with_tools_explained(const Json& messages, const Json& tools, bool has_system);

}  // namespace commissure
