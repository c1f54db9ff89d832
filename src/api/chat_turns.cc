#include "api/chat_turns.h"

#include <utility>

namespace commissure {

namespace {

/// Adds to a text, set apart from it where a message begins.
void append(std::string& before, std::string_view text, bool begins) {
  if (begins && !before.empty() && !text.empty()) before += "\n\n";
  before += text;
}

}  // namespace

void ChatTurns::begin(std::string_view role) {
  role_ = role;
  begins_text_ = begins_thought_ = true;
}

void ChatTurns::add_text(std::string_view text) {
  Json& content = turn()["content"];
  const bool begins = std::exchange(begins_text_, false);
  if (content.is_null()) content = "";
  if (!content.is_array()) return append(content.get_ref<std::string&>(), text, begins);
  if (content.back()["type"] == "text") return append(content.back()["text"].get_ref<std::string&>(), text, begins);
  if (!text.empty()) content.push_back({{"type", "text"}, {"text", text}});
}

void ChatTurns::add_thought(std::string_view thought) {
  Json& all = turn()["reasoning_content"];
  if (all.is_null()) all = "";
  append(all.get_ref<std::string&>(), thought, std::exchange(begins_thought_, false));
}

void ChatTurns::add_image() {
  Json& content = turn()["content"];
  if (!content.is_array()) {
    Json text = std::exchange(content, Json::array());
    if (text.is_string() && text != "") content.push_back({{"type", "text"}, {"text", std::move(text)}});
  }
  content.push_back({{"type", "image"}});
  begins_text_ = false;
}

void ChatTurns::add_call(const std::string& id, const std::string& name, Json arguments) {
  called_[id] = name;
  Json function = {{"name", name}, {"arguments", std::move(arguments)}};
  turn()["tool_calls"].push_back({{"id", id}, {"type", "function"}, {"function", std::move(function)}});
}

void ChatTurns::add_result(const std::string& id, Json content, std::string name) {
  Json answer = {{"role", "tool"}, {"tool_call_id", id}, {"content", std::move(content)}};
  if (const auto call = called_.find(id); name.empty() && call != called_.end()) name = call->second;
  if (!name.empty()) answer["name"] = std::move(name);
  messages_.push_back(std::move(answer));
}

/// The message that the current role's next part belongs to.
Json& ChatTurns::turn() {
  if (messages_.empty() || messages_.back()["role"] != role_) messages_.push_back({{"role", role_}});
  return messages_.back();
}

}  // namespace commissure
