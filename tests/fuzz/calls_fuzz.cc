// What a model writes, in every syntax: however the text is cut, its parts are the same, calls come in order, and the
// arguments of those that came to their end are JSON.

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>

#include "answer/answer_parser.h"
#include "core/index.h"
#include "core/json.h"
#include "fuzz/fuzz.h"

namespace {

using namespace commissure;

std::shared_ptr<const AnswerPlan> make_plan(fuzz::Choices& choices) {
  const auto& tool_parsers = tool_parser_names();
  const auto& reasoning_parsers = reasoning_parser_names();
  auto plan = std::make_shared<AnswerPlan>();
  plan->syntax = answer_syntax("tools <tool_call> [TOOL_CALLS]", tool_parsers[choices.below(tool_parsers.size())],
                               reasoning_parsers[choices.below(reasoning_parsers.size())]);
  static const Json tools = Json::parse(R"([{"function": {"name": "a"}}, {"function": {"name": "find", "parameters":
    {"properties": {"n": {"type": "integer"}, "o": {"type": ["object", "null"]}, "s": {"type": ["string", "null"]}}}}}])");
  plan->functions = answer_functions(tools);
  const std::size_t flags = choices.byte();
  plan->is_one_call = (flags & 1) != 0;
  plan->hides_reasoning = (flags & 2) != 0;
  if ((flags & 4) != 0) plan->prefix = forced_call(plan->syntax, "a");
  if ((flags & 8) != 0) plan->control_marks = plan->syntax.marks();
  plan->new_id = [] { return std::string("id"); };
  return plan;
}

/// The parser is given text: bytes that are none are replaced before it.
bool is_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

/// The parts of the text, which comes in pieces of `piece` bytes.
AnswerDelta parse(const std::shared_ptr<const AnswerPlan>& plan, std::string_view text, std::size_t piece) {
  const bool is_checked = is_ascii(text);
  AnswerParser parser(plan);
  AnswerDelta all;
  while (!text.empty()) {
    all.append(parser.push(text.substr(0, piece)));
    text.remove_prefix(std::min(piece, text.size()));
  }
  all.append(parser.finish());
  for (std::size_t i = 0; i < all.calls.size(); ++i) {
    const CallDelta& call = all.calls[i];
    CHECK(call.index == static_cast<int>(i) && !call.id.empty() && !call.name.empty());
    if (parser.has_whole_calls() && is_checked) CHECK(Json::accept(call.arguments));
  }
  return all;
}

std::string joined(const AnswerDelta& delta) {
  std::string text = delta.reasoning + '\0' + delta.content;
  for (const CallDelta& call : delta.calls) text += '\0' + call.name + '\0' + call.arguments;
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kSettings = 3;
  fuzz::Choices choices(data, size);
  const auto plan = make_plan(choices);
  const std::string_view text = fuzz::as_text(data, size).substr(std::min(size, kSettings));
  const std::string whole = joined(parse(plan, text, text.size() + 1));
  CHECK(whole.size() <= 6 * (plan->prefix.size() + text.size()) + 64);  // an escaped byte is six
  const bool has_mark = text.find_first_of("<[{") != std::string_view::npos;  // or the beginning of one
  if (!has_mark && plan->prefix.empty()) CHECK(parse(plan, text, text.size() + 1).content == text);
  for (const std::size_t piece : {1, 3, 16}) CHECK(joined(parse(plan, text, piece)) == whole);
  return 0;
}
