#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "answer/answer_syntax.h"

namespace commissure {

/// The texts around the arguments of a call that a grammar holds, behind what forced_call() puts into the prompt.
struct HeldCall {
  std::string before;
  std::string behind;
};

/// None for forms whose arguments are no JSON, or whose names stand beside control tokens.
///   name      the function's
///   is_named  whether forced_call() was told it
std::optional<HeldCall> held_call(const AnswerSyntax& syntax, std::string_view name, bool is_named);

}  // namespace commissure
