#include "api/messages_request.h"

#include <cstdint>
#include <optional>
#include <utility>

#include "api/chat_translation.h"
#include "api/fields.h"
#include "api/generation_fields.h"
#include "api/messages_history.h"

namespace commissure {

namespace {

void read_length(Fields& fields, Json& chat) {
  if (fields.find("max_tokens") == nullptr) {
    return fields.fail("max_tokens", "'max_tokens' is missing: say how many tokens the answer may have");
  }
  if (const auto length = fields.integer("max_tokens", 1, INT32_MAX)) chat["max_tokens"] = *length;
}

/// The template decides where nothing is said. Budgets are nothing that a model here keeps to.
void read_thinking(Fields& fields, Json& chat) {
  const Json* thinking = fields.object("thinking");
  if (thinking == nullptr) return;
  Fields inner(*thinking, "thinking.");
  const std::string type = inner.text("type").value_or("");
  const std::string display = inner.text("display").value_or("");
  inner.integer("budget_tokens", 1, INT32_MAX);
  if (inner.error()) return fields.fail(*inner.error());
  if (type != "enabled" && type != "disabled" && type != "adaptive") {
    return fields.fail("thinking.type", "'thinking.type' must be \"enabled\", \"adaptive\" or \"disabled\"");
  }
  chat["chat_template_kwargs"] = {{"enable_thinking", type != "disabled"}};
  if (type == "disabled" || display == "omitted") chat["include_reasoning"] = false;
}

/// A function of a chat; nothing after a finding.
std::optional<Json> chat_tool(Fields& fields, const Json& tool, std::size_t index) {
  const auto refuse = [&](std::string_view what) {
    fields.fail("tools", fmt::format("'tools[{}]{}", index, what));
    return std::nullopt;
  };
  if (!tool.is_object()) return refuse(fmt::format("' must be an object, not {}", kind_of(tool)));
  const Json* type = find_member(tool, "type");
  if (type != nullptr && *type != "custom") {
    return refuse(fmt::format(".type' is {}: only \"custom\" tools are supported, which the client describes and runs",
                              type->is_string() ? dump_json(*type) : std::string(kind_of(*type))));
  }
  return flat_function(fields, tool, index, "input_schema", /*needs_schema=*/true);
}

void read_tools(Fields& fields, Json& chat) {
  const Json* tools = fields.array("tools");
  if (tools == nullptr) return;
  Json functions = Json::array();
  for (std::size_t i = 0; i < tools->size(); ++i) {
    auto function = chat_tool(fields, (*tools)[i], i);
    if (!function) return;
    functions.push_back(std::move(*function));
  }
  chat["tools"] = std::move(functions);
}

void read_tool_choice(Fields& fields, Json& chat) {
  const Json* choice = fields.object("tool_choice");
  if (choice == nullptr) return;
  Fields inner(*choice, "tool_choice.");
  const std::string type = inner.text("type").value_or("");
  const std::string name = inner.text("name").value_or("");
  if (inner.boolean("disable_parallel_tool_use").value_or(false)) chat["parallel_tool_calls"] = false;
  if (inner.error()) return fields.fail(*inner.error());
  if (type == "auto" || type == "none") {
    chat["tool_choice"] = type;
  } else if (type == "any") {
    chat["tool_choice"] = "required";
  } else if (type != "tool") {
    fields.fail("tool_choice.type", "'tool_choice.type' must be \"auto\", \"any\", \"tool\" or \"none\"");
  } else if (name.empty()) {
    fields.fail("tool_choice.name", "'tool_choice.name' is missing: say which tool");
  } else {
    chat["tool_choice"] = named_choice(name);
  }
}

/// What would change the answer and cannot be honoured.
void refuse_formats(Fields& fields) {
  if (fields.find("output_format") != nullptr) refuse_field(fields, "output_format", "; leave it out");
  if (const Json* config = fields.object("output_config")) {
    Fields inner(*config, "output_config.");
    if (inner.find("format") != nullptr) refuse_field(inner, "format", "; leave it out");
    if (inner.error()) fields.fail(*inner.error());
  }
}

}  // namespace

ApiResult<Json> chat_from_messages(const Json& body, MessagesUse use) {
  Fields fields(body);
  Json chat = Json::object();
  copy_field(fields, "model", chat);
  if (use == MessagesUse::kAnswer) {
    for (const std::string_view name : {"temperature", "top_p", "top_k", "lora_scale", "stream"})
      copy_field(fields, name, chat);
    read_length(fields, chat);
    if (auto stop = fields.texts("stop_sequences", kMaxStops, kMaxStopBytes)) chat["stop"] = std::move(*stop);
    fields.object("metadata");
    refuse_formats(fields);
  }
  read_thinking(fields, chat);
  read_tools(fields, chat);
  read_tool_choice(fields, chat);
  if (!fields.ok()) return tl::unexpected(*fields.error());
  Json messages = chat_history(fields);
  if (use == MessagesUse::kAnswer && fields.ok() && !messages.empty() && messages.back()["role"] == "assistant") {
    fields.fail("messages",
                "'messages' ends with the assistant's own words, but answers cannot be begun here: end it "
                "with a message of the user");
  }
  if (!fields.ok()) return tl::unexpected(*fields.error());
  chat["messages"] = std::move(messages);
  return chat;
}

}  // namespace commissure
