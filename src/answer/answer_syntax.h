#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace commissure {

/// How a model spells what comes after the mark that begins a tool call.
enum class CallForm {
  kTagged,  ///< JSON {"name": NAME, "arguments": {...}}, or <function=NAME><parameter=KEY>VALUE</parameter></function>
  kNamed,   ///< the latter, where its own "<function=" is the mark
  kJsonList,    ///< [{"name": NAME, "arguments": {...}}, ...], or NAME[ARGS]{...} (Mistral)
  kJsonObject,  ///< {"name": NAME, "parameters": {...}}, more of them behind ";" (Llama 3)
  kBraced,      ///< call:NAME{key:<quote>text<quote>,key:1} (Gemma)
  kChannel,     ///< a message to functions.NAME, whose text is {...} (Harmony)
};

/// One way to begin a call.
struct CallMark {
  CallForm form;
  std::string open;
  std::string close = {};  ///< empty: the call ends where its JSON ends
};

/// How a model marks thoughts and tool calls in the text of its answers.
struct AnswerSyntax {
  std::string think_open = {};  ///< empty: no thoughts
  std::string think_close = {};
  std::vector<CallMark> calls = {};  ///< empty: no tool calls
  std::string call_quote = {};       ///< around texts in CallForm::kBraced
  bool is_bare_json_call = false;    ///< an answer that begins with "{" is a call, too
  bool has_short_ids = false;        ///< a call's id is nine letters and digits, which the template insists on
  bool names_come_first = false;     ///< of the two ways to spell a call in kTagged and kJsonList, the second one
  bool has_channels = false;         ///< an answer is a row of messages (Harmony), each with a header
  bool explains_tools = false;       ///< the template knows no tools: the request's messages must explain them

  /// Its marks, among which the control tokens whose text the parser has to see.
  std::vector<std::string> marks() const;
  /// What it says of thoughts alone.
  AnswerSyntax thoughts() const;
};

/// Parsers of tool calls by their names in vLLM, for --tool-parser; "auto" and "none" first.
const std::vector<std::string>& tool_parser_names();
/// The same for --reasoning-parser.
const std::vector<std::string>& reasoning_parser_names();

/// What a chat template tells of its model's syntax.
///   source            the template's text; empty: the model has none
///   tool_parser       one of tool_parser_names(); "auto": as the template says
///   reasoning_parser  one of reasoning_parser_names()
AnswerSyntax answer_syntax(std::string_view source, std::string_view tool_parser = "auto",
                           std::string_view reasoning_parser = "auto");

/// What ends a thought that a prompt began, so that something else can follow.
std::string ended_thought(const AnswerSyntax& syntax);

/// What stands in front of an answer's text that has to come at once: "" where nothing does.
std::string begun_text(const AnswerSyntax& syntax);

/// What a call must begin with, for a prompt that leaves the model no choice: "" where the form has no such beginning.
///   name  the function's; empty: any
std::string forced_call(const AnswerSyntax& syntax, std::string_view name);

}  // namespace commissure
