#include "api/responses_input.h"

#include <array>
#include <optional>
#include <utility>

#include "api/chat_turns.h"
#include "api/request_images.h"

namespace commissure {

namespace {

/// Adds messages of a chat, item by item.
class InputItems {
 public:
  explicit InputItems(Fields& fields) : fields_(fields) {}

  void add_instructions(const std::string& text) {
    if (text.empty()) return;
    turns_.begin("system");
    turns_.add_text(text);
  }

  void add_prompt(const std::string& text) {
    turns_.begin("user");
    turns_.add_text(text);
  }

  void add(const Json& item, std::size_t index) {
    const std::string where = fmt::format("input[{}]", index);
    if (!item.is_object()) return refuse(fmt::format("'{}' must be an object, not {}", where, kind_of(item)));
    const Json* type = find_member(item, "type");
    if (type == nullptr || *type == "message") return add_message(item, where);
    if (*type == "function_call") return add_call(item, where);
    if (*type == "function_call_output") return add_result(item, where);
    if (*type == "reasoning") return add_reasoning(item, where);
    if (*type == "item_reference") {
      return refuse(fmt::format(
          "'{}' refers to an item of an earlier response, but none is kept here: send the item itself", where));
    }
    refuse(
        fmt::format("'{}.type' is {}, but must be \"message\", \"function_call\", \"function_call_output\" or "
                    "\"reasoning\": other items are not supported",
                    where, type->is_string() ? dump_json(*type) : std::string(kind_of(*type))));
  }

  Json take() { return turns_.take(); }

 private:
  void refuse(std::string message) { fields_.fail("input", std::move(message)); }

  /// A member of an item that has to be a text; nullptr after a finding.
  const std::string* needed_text(const Json& object, std::string_view name, const std::string& where) {
    const std::string* text = text_member(object, name);
    if (text == nullptr) refuse(fmt::format("'{}.{}' must be a string", where, name));
    return text;
  }

  void add_message(const Json& item, const std::string& where) {
    constexpr std::array<std::string_view, 4> kRoles = {"user", "assistant", "system", "developer"};
    const std::string* role = text_member(item, "role");
    if (role == nullptr || std::ranges::find(kRoles, *role) == kRoles.end()) {
      return refuse(fmt::format("'{}.role' must be \"user\", \"assistant\", \"system\" or \"developer\"", where));
    }
    turns_.begin(*role == "developer" ? "system" : *role);
    const Json* content = find_member(item, "content");
    if (content == nullptr) return refuse(fmt::format("'{}.content' is missing", where));
    if (content->is_string()) return turns_.add_text(content->get_ref<const std::string&>());
    each_part(*content, where + ".content", [&](const Json& part, const std::string& place) {
      if (is_taken_image(part) && *role == "user") return turns_.add_image();
      if (const std::string* text = text_of(part, place)) turns_.add_text(*text);
    });
  }

  template <typename Add>
  void each_part(const Json& list, const std::string& where, const Add& add) {
    if (!list.is_array()) {
      return refuse(fmt::format("'{}' must be a string or an array of parts, not {}", where, kind_of(list)));
    }
    for (std::size_t i = 0; i < list.size() && fields_.ok(); ++i) add(list[i], fmt::format("{}[{}]", where, i));
  }

  /// The text of a part that has to be one of text.
  const std::string* text_of(const Json& part, const std::string& where) {
    const std::string* type = text_member(part, "type");
    if (type == nullptr) {
      refuse(fmt::format("'{}' must be a part with a 'type'", where));
      return nullptr;
    }
    if (*type == "refusal") return needed_text(part, "refusal", where);
    if (*type == "input_text" || *type == "output_text" || *type == "text") return needed_text(part, "text", where);
    refuse(fmt::format("'{}.type' is '{}', which has no place here or is not supported", where, *type));
    return nullptr;
  }

  void add_call(const Json& item, const std::string& where) {
    const std::string* id = needed_text(item, "call_id", where);
    const std::string* name = id != nullptr ? needed_text(item, "name", where) : nullptr;
    const std::string* arguments = name != nullptr ? needed_text(item, "arguments", where) : nullptr;
    if (arguments == nullptr) return;
    turns_.begin("assistant");
    turns_.add_call(*id, *name, *arguments);
  }

  void add_result(const Json& item, const std::string& where) {
    const std::string* id = needed_text(item, "call_id", where);
    if (id == nullptr) return;
    const Json* output = find_member(item, "output");
    if (output == nullptr) return refuse(fmt::format("'{}.output' is missing", where));
    if (output->is_string()) return turns_.add_result(*id, *output);
    std::string text;
    Json parts = Json::array();  // where images stand among the texts
    const auto end_text = [&] {
      if (!text.empty()) parts.push_back({{"type", "text"}, {"text", std::exchange(text, "")}});
    };
    each_part(*output, where + ".output", [&](const Json& part, const std::string& place) {
      if (is_taken_image(part)) {
        end_text();
        parts.push_back(part);
      } else if (const std::string* more = text_of(part, place)) {
        text += *more;
      }
    });
    if (parts.empty()) return turns_.add_result(*id, std::move(text));
    end_text();
    turns_.add_result(*id, std::move(parts));
  }

  /// What the model thought. A summary is somebody else's, and encrypted thoughts nobody here can read.
  void add_reasoning(const Json& item, const std::string& where) {
    const Json* content = find_member(item, "content");
    if (content == nullptr) return;
    turns_.begin("assistant");
    each_part(*content, where + ".content", [&](const Json& part, const std::string& place) {
      const std::string* type = text_member(part, "type");
      if (type == nullptr || (*type != "reasoning_text" && *type != "text")) {
        return refuse(fmt::format("'{}.type' must be \"reasoning_text\"", place));
      }
      if (const std::string* text = needed_text(part, "text", place)) turns_.add_thought(*text);
    });
  }

  Fields& fields_;
  ChatTurns turns_;
};

}  // namespace

Json chat_of_input(Fields& fields) {
  InputItems items(fields);
  if (const auto instructions = fields.text("instructions")) items.add_instructions(*instructions);
  const Json* input = fields.find("input");
  if (input == nullptr) {
    fields.fail("input", "'input' is missing: give a text, or an array of items");
  } else if (input->is_string()) {
    items.add_prompt(input->get_ref<const std::string&>());
  } else if (!input->is_array() || input->empty()) {
    fields.fail("input", fmt::format("'input' must be a string or an array of at least one item, not {}",
                                     input->is_array() ? "an empty one" : kind_of(*input)));
  } else {
    for (std::size_t i = 0; i < input->size() && fields.ok(); ++i) items.add((*input)[i], i);
  }
  return items.take();
}

}  // namespace commissure
