#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "answer/answer_parser.h"
#include "api/fields.h"
#include "api/plain_text.h"
#include "engine/engine.h"

namespace commissure {

/// Functions that one request may offer.
inline constexpr std::size_t kMaxTools = 512;
/// Characters of a function's name.
inline constexpr std::size_t kMaxFunctionName = 128;

/// Whether a function may be called so.
bool is_function_name(std::string_view name);

/// What a chat body says of tools and thoughts.
struct ToolFields {
  Json tools = Json::array();   ///< functions that the model may call, as {type, function: {name, ...}}
  bool must_call = false;       ///< tool_choice "required", or a function
  std::string function = {};    ///< must_call: this one; empty: any of them
  bool is_one_call = false;     ///< parallel_tool_calls is false, or a function is named
  bool reads_thoughts = true;   ///< reasoning_format is not "none"
  bool hides_thoughts = false;  ///< include_reasoning is false
};

/// Reads `tools`, `tool_choice`, `parallel_tool_calls`, `include_reasoning` and `reasoning_format`. Findings go to
/// `fields`.
ToolFields read_tool_fields(Fields& fields, const ServedModel& model);

/// How the answer to this prompt is told apart; null: it is text and no more. Where a call is a must, the prompt's end
/// begins it; where the text is to be held to a grammar, that.
///   is_held  it is
std::shared_ptr<const AnswerPlan> plan_answer(const ServedModel& model, const ToolFields& asked, bool is_held,
                                              ChatPrompt& prompt);

/// The control tokens whose text is part of the answer: those of the plan's marks, and of thoughts.
///   plan  may be null
std::vector<TokenId> shown_tokens(const AnswerPlan* plan, const ServedModel& model);

}  // namespace commissure
