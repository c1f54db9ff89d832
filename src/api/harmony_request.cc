#include "api/harmony_request.h"

#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace commissure {

namespace {

bool is_text(const Json& message, const char* name) {
  const auto found = message.find(name);
  return found != message.end() && found->is_string() && !found->get_ref<const std::string&>().empty();
}

std::string id_of(const Json& object, const char* name) {
  const Json* id = find_member(object, name);
  return id != nullptr && id->is_string() ? id->get<std::string>() : "";
}

/// What tools answered to the calls of one message, each taken once: the first one of the call's id, else
/// the next one that names no id.
class Results {
 public:
  /// Takes them out of `messages`, from `first` on.
  Results(Json& messages, std::size_t first) {
    for (std::size_t i = first; i < messages.size() && messages[i]["role"] == "tool"; ++i) {
      by_id_[id_of(messages[i], "tool_call_id")].push_back(results_.size());
      results_.push_back(std::move(messages[i]));
    }
  }

  std::size_t size() const { return results_.size(); }

  void give(const std::string& id, Json& all) {
    auto found = by_id_.find(id);
    if (found == by_id_.end()) found = by_id_.find("");
    if (found == by_id_.end() || found->second.empty()) return;
    all.push_back(std::exchange(results_[found->second.front()], nullptr));
    found->second.pop_front();
  }

  void give_rest(Json& all) {
    for (Json& result : results_) {
      if (!result.is_null()) all.push_back(std::move(result));
    }
  }

 private:
  std::vector<Json> results_;
  std::map<std::string, std::deque<std::size_t>> by_id_;  // places in them
};

}  // namespace

Json harmony_messages(Json messages) {
  Json all = Json::array();
  for (std::size_t i = 0; i < messages.size(); ++i) {
    Json message = std::move(messages[i]);
    const bool is_assistant = message["role"] == "assistant";
    if (is_assistant && message["content"].is_null()) message["content"] = "";
    if (!is_assistant || !message.contains("tool_calls")) {
      all.push_back(std::move(message));
      continue;
    }
    if (is_text(message, "content") && is_text(message, "thinking")) {
      auto& thoughts = message["thinking"].get_ref<std::string&>();
      thoughts.append("\n\n").append(message["content"].get_ref<const std::string&>());
      message["content"] = "";
    }
    Json calls = std::exchange(message["tool_calls"], Json::array());
    Results results(messages, i + 1);
    i += results.size();
    for (Json& call : calls) {
      const std::string id = id_of(call, "id");
      message["tool_calls"].push_back(std::move(call));
      all.push_back(std::exchange(message, {{"role", "assistant"}, {"content", ""}, {"tool_calls", Json::array()}}));
      results.give(id, all);
    }
    results.give_rest(all);
  }
  return all;
}

Json harmony_tools(Json tools) {
  for (Json& tool : tools) {
    Json& description = tool["function"]["description"];
    if (description.is_null()) description = "";
  }
  return tools;
}

}  // namespace commissure
