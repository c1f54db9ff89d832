#include "answer/answer_syntax.h"

#include <algorithm>
#include <array>

#include "answer/harmony_header.h"

namespace commissure {

namespace {

struct ToolParser {
  std::string_view name;
  std::array<std::string_view, 2> evidence;  // in templates that teach it, any of them; "": none
  void (*set)(AnswerSyntax& syntax, std::string_view source);
};

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

void set_tagged(AnswerSyntax& syntax, bool names_come_first) {
  syntax.calls = {{CallForm::kTagged, "<tool_call>", "</tool_call>"}};
  syntax.names_come_first = names_come_first;
  if (names_come_first) syntax.calls.push_back({CallForm::kNamed, "<function=", "</tool_call>"});  // the mark forgotten
}

void set_hermes(AnswerSyntax& syntax, std::string_view source) { set_tagged(syntax, contains(source, "<function=")); }

void set_qwen3_xml(AnswerSyntax& syntax, std::string_view) { set_tagged(syntax, /*names_come_first=*/true); }

void set_harmony(AnswerSyntax& syntax, std::string_view) {
  syntax.calls = {{CallForm::kChannel, "<|channel|>commentary to=functions.", std::string(kHarmonyCall)}};
  syntax.has_channels = true;
}

void set_gemma4(AnswerSyntax& syntax, std::string_view) {
  syntax.calls = {{CallForm::kBraced, "<|tool_call>", "<tool_call|>"}};
  syntax.call_quote = "<|\"|>";
}

void set_function_gemma(AnswerSyntax& syntax, std::string_view) {
  syntax.calls = {{CallForm::kBraced, "<start_function_call>", "<end_function_call>"}};
  syntax.call_quote = "<escape>";
}

void set_mistral(AnswerSyntax& syntax, std::string_view source) {
  syntax.calls = {{CallForm::kJsonList, "[TOOL_CALLS]"}};
  syntax.names_come_first = contains(source, "[ARGS]");
  syntax.has_short_ids = true;
}

void set_llama3(AnswerSyntax& syntax, std::string_view) {
  syntax.calls = {{CallForm::kJsonObject, "<|python_tag|>"}};
  syntax.is_bare_json_call = true;
}

// In the order in which a template is asked: an earlier mark is the more telling one.
constexpr std::array<ToolParser, 7> kToolParsers = {
    {{"harmony", {kHarmonyChannel}, set_harmony},
     {"gemma4", {"<|tool_call>"}, set_gemma4},
     {"functiongemma", {"<start_function_call>"}, set_function_gemma},
     {"mistral", {"[TOOL_CALLS]"}, set_mistral},
     {"hermes", {"<tool_call>"}, set_hermes},
     {"qwen3_xml", {}, set_qwen3_xml},
     {"llama3_json", {"<|python_tag|>", "\"parameters\": dictionary of argument name"}, set_llama3}}};

struct ReasoningParser {
  std::string_view name;
  std::array<std::string_view, 1> evidence;
  std::string_view open, close;
};

constexpr std::array<ReasoningParser, 4> kReasoningParsers = {
    {{"harmony", {kHarmonyChannel}, kHarmonyThought, kHarmonyEnd},
     {"gemma4", {"<|channel>"}, "<|channel>thought\n", "<channel|>"},
     {"mistral", {"[THINK]"}, "[THINK]", "[/THINK]"},
     {"think", {"</think>"}, "<think>", "</think>"}}};

/// A parser by its name, or the first one that the template shows evidence of.
template <typename Parsers>
const typename Parsers::value_type* choose(const Parsers& parsers, std::string_view source, std::string_view name) {
  const auto found = std::ranges::find_if(parsers, [&](const auto& parser) {
    const auto is_shown = [&](std::string_view mark) { return !mark.empty() && contains(source, mark); };
    return name == "auto" ? std::ranges::any_of(parser.evidence, is_shown) : parser.name == name;
  });
  return found == parsers.end() ? nullptr : &*found;
}

template <typename Parsers>
std::vector<std::string> names_of(const Parsers& parsers) {
  std::vector<std::string> names = {"auto", "none"};
  for (const auto& parser : parsers) names.emplace_back(parser.name);
  return names;
}

std::string harmony_call(const CallMark& mark, std::string_view name) {
  return name.empty() ? mark.open : mark.open + std::string(name) + " <|constrain|>json<|message|>";
}

std::string begun_call(const AnswerSyntax& syntax, const CallMark& mark, std::string_view name) {
  const std::string any = mark.open + (mark.form == CallForm::kTagged ? "\n" : "");
  const std::string named = "{\"name\": \"" + std::string(name) + "\", ";
  switch (mark.form) {
    case CallForm::kTagged:
    case CallForm::kNamed:
      if (syntax.names_come_first)
        return name.empty() ? any + "<function=" : any + "<function=" + std::string(name) + ">\n";
      return name.empty() ? any + "{\"name\": \"" : any + named + "\"arguments\":";
    case CallForm::kJsonList:
      if (syntax.names_come_first) return name.empty() ? any : any + std::string(name) + "[ARGS]{";
      return name.empty() ? any + "[{\"name\": \"" : any + "[" + named + "\"arguments\":";
    case CallForm::kJsonObject:  // the mark is for code; a call is bare JSON
      return name.empty() ? "{\"name\": \"" : named + "\"parameters\":";
    case CallForm::kBraced: return any + "call:" + (name.empty() ? "" : std::string(name) + "{");
    case CallForm::kChannel: break;
  }
  return "";
}

}  // namespace

std::vector<std::string> AnswerSyntax::marks() const {
  std::vector<std::string> all;
  if (has_channels) {
    all.assign(kHarmonyMarks.begin(), kHarmonyMarks.end());
  } else {
    all = {think_open, think_close};
  }
  for (const CallMark& mark : calls) {
    if (mark.form == CallForm::kChannel) continue;
    all.insert(all.end(), {mark.open, mark.close});
    if (mark.form == CallForm::kBraced) all.push_back(call_quote);
    if (mark.form == CallForm::kJsonList && names_come_first) all.insert(all.end(), {"[ARGS]", "[CALL_ID]"});
  }
  std::erase(all, "");
  return all;
}

AnswerSyntax AnswerSyntax::thoughts() const {
  AnswerSyntax kept;
  kept.think_open = think_open;
  kept.think_close = think_close;
  kept.has_channels = has_channels;
  return kept;
}

const std::vector<std::string>& tool_parser_names() {
  static const std::vector<std::string> names = names_of(kToolParsers);
  return names;
}

const std::vector<std::string>& reasoning_parser_names() {
  static const std::vector<std::string> names = names_of(kReasoningParsers);
  return names;
}

AnswerSyntax answer_syntax(std::string_view source, std::string_view tool_parser, std::string_view reasoning_parser) {
  AnswerSyntax syntax;
  if (const auto* parser = choose(kReasoningParsers, source, reasoning_parser)) {
    syntax.think_open = parser->open;
    syntax.think_close = parser->close;
    syntax.has_channels = parser->open == kHarmonyThought;
  }
  if (const auto* parser = choose(kToolParsers, source, tool_parser)) {
    parser->set(syntax, source);
  } else if (tool_parser == "auto" && !source.empty()) {
    set_hermes(syntax, source);
  }
  // The messages teach the spelling of "hermes" then.
  syntax.explains_tools = !contains(source, "tools");
  if (syntax.explains_tools && !syntax.calls.empty()) {
    syntax = syntax.thoughts();
    syntax.explains_tools = true;
    set_hermes(syntax, source);
  }
  return syntax;
}

std::string ended_thought(const AnswerSyntax& syntax) {
  if (syntax.has_channels) return std::string(kHarmonyEnd) + std::string(kHarmonyStart) + "assistant";
  return "\n" + syntax.think_close + "\n\n";
}

std::string begun_text(const AnswerSyntax& syntax) {
  return syntax.has_channels ? std::string(kHarmonyFinal) : std::string();
}

std::string forced_call(const AnswerSyntax& syntax, std::string_view name) {
  if (syntax.calls.empty()) return "";
  const CallMark& mark = syntax.calls.front();
  if (mark.form == CallForm::kChannel) return harmony_call(mark, name);
  return begun_text(syntax) + begun_call(syntax, mark, name);
}

}  // namespace commissure
