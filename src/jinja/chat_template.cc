#include "jinja/chat_template.h"

#include <algorithm>

#include "jinja/render.h"
#include "jinja/syntax/syntax.h"

namespace commissure {

namespace {

/// One message whose content is a list: does its text come out as such?
bool shows_parts(const jinja::Syntax& syntax) {
  static constexpr std::string_view kText = "a part of text";
  const Json part = {{"type", "text"}, {"text", kText}};
  const Json variables = {{"messages", Json::array({{{"role", "user"}, {"content", Json::array({part})}}})},
                          {"add_generation_prompt", true},
                          {"bos_token", ""},
                          {"eos_token", ""},
                          {"tools", nullptr},
                          {"documents", nullptr}};
  const jinja::Limits kLimits{.fuel = 200'000, .memory_bytes = 4u << 20, .text_bytes = 1u << 20, .depth = 500};
  const auto text = jinja::Render(syntax, kLimits).run(variables);
  return text && text->find(kText) != std::string::npos && text->find("'text'") == std::string::npos &&
         text->find("\"text\"") == std::string::npos;
}

template <typename Predicate>
bool has_text(const jinja::Syntax& syntax, Predicate is_meant) {
  return std::ranges::any_of(
      syntax.nodes, [&](const jinja::Node& node) { return node.constant.is_text() && is_meant(node.constant.view()); });
}

bool mentions(const jinja::Syntax& syntax, std::string_view name) {
  return has_text(syntax, [&](std::string_view text) { return text == name; });
}

bool writes(const jinja::Syntax& syntax, std::string_view part) {
  return has_text(syntax, [&](std::string_view text) { return text.find(part) != std::string_view::npos; });
}

}  // namespace

ChatTemplate::ChatTemplate(std::unique_ptr<jinja::Syntax> syntax)
    : syntax_(std::move(syntax)),
      takes_parts_(shows_parts(*syntax_)),
      knows_tool_calls_(mentions(*syntax_, "tool_calls")),
      has_channels_(writes(*syntax_, "<|channel|>")) {}

ChatTemplate::~ChatTemplate() = default;

Result<std::unique_ptr<ChatTemplate>> ChatTemplate::compile(std::string_view source) {
  auto syntax = jinja::parse(source);
  if (!syntax) return syntax.error().within("chat template");
  return std::unique_ptr<ChatTemplate>(new ChatTemplate(std::move(*syntax)));
}

Result<std::string> ChatTemplate::render(const Json& variables, const jinja::Limits& limits) const {
  auto text = jinja::Render(*syntax_, limits).run(variables);
  if (!text) return text.error().within("chat template");
  return text;
}

}  // namespace commissure
