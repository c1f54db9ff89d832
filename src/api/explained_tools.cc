#include "api/explained_tools.h"

#include <utility>

namespace commissure {

namespace {

/// As a model without a syntax of its own is told.
std::string explanation(const Json& tools) {
  std::string text =
      "You can call functions to help the user. They are described here, one JSON object a line:\n<tools>\n";
  for (const Json& tool : tools) text += dump_json(tool) + "\n";
  return text +
         "</tools>\nTo call a function, write a JSON object with its name and its arguments between these marks:\n"
         "<tool_call>\n{\"name\": \"function name\", \"arguments\": {\"argument name\": \"value\"}}\n</tool_call>\n"
         "The result comes back between <tool_response> and </tool_response>. Call a function only if it helps.";
}

/// A message's content as one text.
std::string text_of(const Json& message) {
  const Json* content = find_member(message, "content");
  if (content == nullptr) return "";
  if (content->is_string()) return content->get<std::string>();
  std::string text;
  for (const Json& part : *content) {
    if (const Json* piece = find_member(part, "text"); piece != nullptr && piece->is_string())
      text += piece->get<std::string>();
  }
  return text;
}

/// The message's text, and its calls as the model is told to write them.
std::string with_calls(const Json& message) {
  std::string text = text_of(message);
  const Json* calls = find_member(message, "tool_calls");
  if (calls == nullptr || !calls->is_array()) return text;
  for (const Json& call : *calls) {
    const Json* function = find_member(call, "function");
    if (function == nullptr) continue;
    const Json* name = find_member(*function, "name");
    const Json* arguments = find_member(*function, "arguments");
    const Json shown = {{"name", name != nullptr ? *name : Json()},
                        {"arguments", arguments != nullptr ? *arguments : Json::object()}};
    text += (text.empty() ? "" : "\n") + ("<tool_call>\n" + dump_json(shown)) + "\n</tool_call>";
  }
  return text;
}

/// Adds a text to the messages, to the last one where that is of the same role: templates may insist that roles
/// alternate.
void add_text(Json& messages, const std::string& role, const std::string& text, std::string_view between) {
  if (messages.empty() || messages.back()["role"] != role) {
    messages.push_back({{"role", role}, {"content", text}});
    return;
  }
  Json& content = messages.back()["content"];
  if (!content.is_string()) content = text_of(messages.back());
  auto& all = content.get_ref<std::string&>();  // in place: there may be many
  if (!all.empty()) all += between;
  all += text;
}

}  // namespace

Json with_tools_explained(const Json& messages, const Json& tools, bool has_system) {
  Json result = Json::array();
  std::string told = tools.empty() ? "" : explanation(tools);
  if (has_system && !told.empty()) {
    const bool has_own = messages[0]["role"] == "system";
    const std::string own = has_own ? text_of(messages[0]) : "";
    result.push_back({{"role", "system"}, {"content", own + (own.empty() ? "" : "\n\n") + std::exchange(told, {})}});
    if (has_own) result.back()["is_first"] = true;
  }
  for (std::size_t i = result.empty() || !result[0].contains("is_first") ? 0 : 1; i < messages.size(); ++i) {
    const Json& message = messages[i];
    const std::string role = message["role"].get<std::string>();
    if (role == "tool" || role == "function") {
      add_text(result, "user", "<tool_response>\n" + text_of(message) + "\n</tool_response>", "\n");
    } else if (role == "user" && (!told.empty() || (!result.empty() && result.back()["role"] == "user"))) {
      if (!told.empty()) add_text(result, "user", std::exchange(told, {}), "\n\n");
      add_text(result, "user", text_of(message), "\n\n");
    } else if (role == "assistant" && message.contains("tool_calls")) {
      add_text(result, role, with_calls(message), "\n");
    } else {
      result.push_back(message);
    }
  }
  if (!result.empty()) result[0].erase("is_first");
  return result;
}

}  // namespace commissure
