#include "jinja/chat_template.h"

#include "jinja/render.h"
#include "jinja/syntax.h"

namespace commissure {

ChatTemplate::ChatTemplate(std::unique_ptr<jinja::Syntax> syntax) : syntax_(std::move(syntax)) {}

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
