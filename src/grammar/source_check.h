#pragma once

#include <string_view>

#include "core/result.h"

namespace commissure {

/// Refuses what the compiler would take and llama.cpp's notation does not have, naming the line: rules with options,
/// and macros. Errors: kInvalidArgument.
Status check_ebnf(std::string_view text);

/// Refuses repetitions that unfold into too many states. Errors: kResourceExhausted.
Status check_repetitions(std::string_view text, std::string_view what);

}  // namespace commissure
