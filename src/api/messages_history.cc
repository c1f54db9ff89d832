#include "api/messages_history.h"

#include <map>
#include <utility>

#include "api/request_images.h"

namespace commissure {

namespace {

/// Claude Code's first system block, another one for each request: no prompt would have a beginning in common.
constexpr std::string_view kBillingHeader = "x-anthropic-billing-header:";

/// The text of a member that has to be a text; nothing where it is none.
const std::string* text_member(const Json& object, std::string_view name) {
  const Json* value = find_member(object, name);
  return value != nullptr && value->is_string() ? &value->get_ref<const std::string&>() : nullptr;
}

/// Adds messages of a chat, block by block.
class History {
 public:
  explicit History(Fields& fields) : fields_(fields) {}

  void add_system(const Json& system) {
    std::string text;
    if (system.is_string()) {
      text = system.get<std::string>();
    } else if (system.is_array()) {
      for (std::size_t i = 0; i < system.size() && fields_.ok(); ++i) {
        const std::string* block = text_of(system[i], "system", fmt::format("system[{}]", i));
        if (block != nullptr && !block->starts_with(kBillingHeader)) text += *block;
      }
    } else {
      return fields_.fail("system",
                          fmt::format("'system' must be a string or an array of text blocks, not {}", kind_of(system)));
    }
    if (!text.empty()) messages_.push_back({{"role", "system"}, {"content", std::move(text)}});
  }

  void add(const Json& message, std::size_t index) {
    const std::string where = fmt::format("messages[{}]", index);
    if (!message.is_object()) return refuse(fmt::format("'{}' must be an object, not {}", where, kind_of(message)));
    const std::string* role = text_member(message, "role");
    if (role == nullptr || (*role != "user" && *role != "assistant" && *role != "system")) {
      return refuse(fmt::format("'{}.role' must be \"user\", \"assistant\" or \"system\"", where));
    }
    role_ = *role;
    begins_text_ = begins_thought_ = true;
    const Json* content = find_member(message, "content");
    if (content == nullptr) return refuse(fmt::format("'{}.content' is missing", where));
    if (content->is_string()) return add_text(content->get_ref<const std::string&>());
    if (!content->is_array()) {
      return refuse(
          fmt::format("'{}.content' must be a string or an array of blocks, not {}", where, kind_of(*content)));
    }
    for (std::size_t i = 0; i < content->size() && fields_.ok(); ++i) {
      add_block((*content)[i], fmt::format("{}.content[{}]", where, i));
    }
  }

  Json take() { return std::move(messages_); }

 private:
  void refuse(std::string message) { fields_.fail("messages", std::move(message)); }

  /// The text of a block that has to be one of text.
  const std::string* text_of(const Json& block, std::string_view param, const std::string& where) {
    const std::string* type = text_member(block, "type");
    const std::string* text = text_member(block, "text");
    if (type != nullptr && *type == "text" && text != nullptr) return text;
    if (type != nullptr && *type == "image") {
      fields_.fail(param, fmt::format("'{}' is an image, which has no place here", where));
    } else if (type == nullptr || *type == "text") {
      fields_.fail(param,
                   fmt::format("'{}' must be a block with a 'type', and with a 'text' where that is \"text\"", where));
    } else {
      fields_.fail(param, fmt::format("'{}.type' is '{}', which has no place here or is not supported", where, *type));
    }
    return nullptr;
  }

  void add_block(const Json& block, const std::string& where) {
    const std::string* type = text_member(block, "type");
    const bool is_assistant = role_ == "assistant";
    if (type != nullptr && *type == "tool_use" && is_assistant) return add_call(block, where);
    if (type != nullptr && *type == "tool_result" && role_ == "user") return add_result(block, where);
    if (type != nullptr && *type == "redacted_thinking" && is_assistant) return;  // nobody here can read it
    if (type != nullptr && *type == "thinking" && is_assistant) {
      const std::string* thought = text_member(block, "thinking");
      if (thought == nullptr) return refuse(fmt::format("'{}.thinking' must be a string", where));
      return append(turn()["reasoning_content"], *thought, begins_thought_);
    }
    if (is_taken_image(block) && role_ == "user") return add_part(turn()["content"], block);
    if (const std::string* text = text_of(block, "messages", where)) add_text(*text);
  }

  /// Adds what is no text to a content, which becomes a list of parts.
  static void add_part(Json& content, const Json& part) {
    if (!content.is_array()) {
      Json text = std::exchange(content, Json::array());
      if (text.is_string() && text != "") content.push_back({{"type", "text"}, {"text", std::move(text)}});
    }
    content.push_back(part);
  }

  /// The text that a content goes on with.
  static Json& text_at_end(Json& content) {
    if (!content.is_array()) return content;
    if (content.empty() || is_taken_image(content.back())) content.push_back({{"type", "text"}, {"text", ""}});
    return content.back()["text"];
  }

  void add_text(const std::string& text) { append(text_at_end(turn()["content"]), text, begins_text_); }

  void add_call(const Json& block, const std::string& where) {
    const std::string* id = text_member(block, "id");
    const std::string* name = text_member(block, "name");
    if (id == nullptr) return refuse(fmt::format("'{}.id' must be a string", where));
    if (name == nullptr) return refuse(fmt::format("'{}.name' must be a string", where));
    const Json* input = find_member(block, "input");
    if (input != nullptr && !input->is_object()) {
      return refuse(fmt::format("'{}.input' must be an object, not {}", where, kind_of(*input)));
    }
    called_[*id] = *name;
    Json function = {{"name", *name}, {"arguments", input != nullptr ? *input : Json::object()}};
    turn()["tool_calls"].push_back({{"id", *id}, {"type", "function"}, {"function", std::move(function)}});
  }

  void add_result(const Json& block, const std::string& where) {
    const std::string* id = text_member(block, "tool_use_id");
    if (id == nullptr) return refuse(fmt::format("'{}.tool_use_id' must be a string", where));
    const Json* failed = find_member(block, "is_error");
    if (failed != nullptr && !failed->is_boolean()) {
      return refuse(fmt::format("'{}.is_error' must be true or false, not {}", where, kind_of(*failed)));
    }
    const Json* content = find_member(block, "content");
    Json all = failed != nullptr && failed->get<bool>() ? "Error: " : "";  // templates know no such flag
    if (content != nullptr && content->is_string()) {
      all.get_ref<std::string&>() += content->get_ref<const std::string&>();
    } else if (content != nullptr && content->is_array()) {
      for (std::size_t i = 0; i < content->size() && fields_.ok(); ++i) {
        if (is_taken_image((*content)[i])) {
          add_part(all, (*content)[i]);
          continue;
        }
        const std::string* part = text_of((*content)[i], "messages", fmt::format("{}.content[{}]", where, i));
        if (part != nullptr) text_at_end(all).get_ref<std::string&>() += *part;
      }
    } else if (content != nullptr) {
      return refuse(
          fmt::format("'{}.content' must be a string or an array of blocks, not {}", where, kind_of(*content)));
    }
    Json answer = {{"role", "tool"}, {"tool_call_id", *id}, {"content", std::move(all)}};
    if (const auto call = called_.find(*id); call != called_.end()) answer["name"] = call->second;
    messages_.push_back(std::move(answer));
  }

  /// The message that the current role's next block belongs to.
  Json& turn() {
    if (messages_.empty() || messages_.back()["role"] != role_) messages_.push_back({{"role", role_}});
    return messages_.back();
  }

  /// Blocks of one message are one text as they stand; what another message adds to it is set apart.
  static void append(Json& all, const std::string& text, bool& begins) {
    if (all.is_null()) all = "";
    auto& before = all.get_ref<std::string&>();
    if (begins && !before.empty() && !text.empty()) before += "\n\n";
    before += text;
    begins = false;
  }

  Fields& fields_;
  Json messages_ = Json::array();
  std::string role_;
  bool begins_text_ = false, begins_thought_ = false;  // nothing of the current message is there yet
  std::map<std::string, std::string> called_;          // functions, by the ids of their calls
};

}  // namespace

Json chat_history(Fields& fields) {
  History history(fields);
  if (const Json* system = fields.find("system")) history.add_system(*system);
  const Json* messages = fields.array("messages");
  if (messages == nullptr || messages->empty()) {
    fields.fail("messages", "'messages' must be an array of at least one message");
    return Json::array();
  }
  for (std::size_t i = 0; i < messages->size() && fields.ok(); ++i) history.add((*messages)[i], i);
  return history.take();
}

}  // namespace commissure
