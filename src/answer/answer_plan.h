#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "answer/answer_function.h"
#include "answer/answer_syntax.h"

namespace commissure {

/// What of an answer's text is told apart.
struct AnswerPlan {
  AnswerSyntax syntax = {};                    ///< without calls or thoughts: these stay text
  std::vector<AnswerFunction> functions = {};  ///< that may be called
  std::string prefix = {};  ///< what the prompt's end has of the answer: a thought's or a call's beginning
  std::vector<std::string> control_marks = {};  ///< texts of control tokens, which are never content
  bool is_held = false;                         ///< a grammar says what the text is: no mark is looked for within it
  bool is_one_call = false;                     ///< further calls are left out
  bool hides_reasoning = false;                 ///< thoughts are read, and left out
  std::function<std::string()> new_id = {};     ///< for each call

  /// The text without the control tokens in it.
  std::string without_control(std::string_view text) const;
};

}  // namespace commissure
