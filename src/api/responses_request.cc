#include "api/responses_request.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "api/chat_translation.h"
#include "api/fields.h"
#include "api/generation_fields.h"
#include "api/openai.h"
#include "api/responses_input.h"

namespace commissure {

namespace {

/// Tools that OpenAI's own servers run, or that a model must have been trained on. Agents list them beside their
/// functions whoever serves.
constexpr std::array<std::string_view, 11> kHostedTools = {
    "web_search", "web_search_preview", "file_search", "code_interpreter", "image_generation", "mcp",
    "computer",   "local_shell",        "shell",       "apply_patch",      "tool_search"};

/// Which of them it is, perhaps with a date or "_preview" behind its name; "" where it is none.
std::string_view hosted_tool(std::string_view type) {
  for (const std::string_view known : kHostedTools) {
    if (type == known || (type.starts_with(known) && type[known.size()] == '_')) return known;
  }
  return "";
}

/// What would be answered from something that was kept.
void refuse_kept(Fields& fields) {
  constexpr std::string_view kNothing =
      ": nothing is kept here between requests; send the whole conversation as 'input'";
  for (const std::string_view name : {"previous_response_id", "conversation"}) {
    if (fields.find(name) != nullptr) refuse_field(fields, name, kNothing);
  }
  if (fields.boolean("background").value_or(false)) {
    refuse_field(fields, "background", ": nothing is kept here between requests; ask with \"stream\": true instead");
  }
  if (fields.find("prompt") != nullptr) {
    refuse_field(fields, "prompt", ", which keeps no prompts; send its text as 'instructions' or 'input'");
  }
  fields.boolean("store");
}

/// Log-probabilities are asked for in two places; the rest of what may be included is of tools that no one has here.
void read_include(Fields& fields) {
  constexpr std::string_view kCure = "; /v1/chat/completions has 'logprobs'";
  if (const Json* include = fields.array("include")) {
    for (const Json& entry : *include) {
      if (!entry.is_string()) {
        return fields.fail("include", fmt::format("'include' must hold strings only, not {}", kind_of(entry)));
      }
      if (entry == "message.output_text.logprobs")
        return refuse_field(fields, "include", fmt::format(" with {}{}", dump_json(entry), kCure));
    }
  }
  if (fields.integer("top_logprobs", 0, kMaxTopLogprobs).value_or(0) > 0) refuse_field(fields, "top_logprobs", kCure);
}

Json read_metadata(Fields& fields) {
  const Json* metadata = fields.object("metadata");
  if (metadata == nullptr) return Json::object();
  if (metadata->size() > kMaxMetadata) {
    fields.fail("metadata",
                fmt::format("'metadata' has {} pairs, but may have at most {}", metadata->size(), kMaxMetadata));
  }
  for (const auto& [key, value] : metadata->items()) {
    if (!value.is_string() || count_code_points(key) > kMaxMetadataKey ||
        count_code_points(value.get_ref<const std::string&>()) > kMaxMetadataValue) {
      fields.fail("metadata", fmt::format("'metadata' must have strings as values, keys of at most {} characters and "
                                          "values of at most {}",
                                          kMaxMetadataKey, kMaxMetadataValue));
    }
  }
  return *metadata;
}

void read_reasoning(Fields& fields, Json& chat, Json& echo) {
  constexpr std::array<std::string_view, 7> kEfforts = {"none", "minimal", "low", "medium", "high", "xhigh", "max"};
  echo["reasoning"] = {{"effort", nullptr}, {"summary", nullptr}};
  const Json* reasoning = fields.object("reasoning");
  if (reasoning == nullptr) return;
  Fields inner(*reasoning, "reasoning.");
  inner.text("summary");
  if (const auto effort = inner.text("effort")) {
    if (std::ranges::find(kEfforts, *effort) == kEfforts.end()) {
      inner.fail("effort", fmt::format("'reasoning.effort' must be one of {}", fmt::join(kEfforts, ", ")));
    }
    chat["reasoning_effort"] = echo["reasoning"]["effort"] = *effort;
  }
  if (inner.error()) fields.fail(*inner.error());
}

/// `text.format` as `response_format`.
void read_text(Fields& fields, Json& chat, Json& echo) {
  echo["text"] = {{"format", {{"type", "text"}}}};
  const Json* text = fields.object("text");
  if (text == nullptr) return;
  Fields inner(*text, "text.");
  if (const auto verbosity = inner.text("verbosity")) echo["text"]["verbosity"] = *verbosity;
  if (const Json* format = inner.object("format")) {
    Fields form(*format, "text.format.");
    const std::string type = form.text("type").value_or("");
    if (type == "json_schema") {
      const Json* schema = form.object("schema");
      if (schema == nullptr) form.fail("schema", "'text.format.schema' must be a JSON schema, an object");
      if (schema != nullptr) chat["response_format"] = {{"type", type}, {"json_schema", {{"schema", *schema}}}};
    } else if (type == "json_object") {
      chat["response_format"] = {{"type", type}};
    } else if (type != "text") {
      form.fail("type", "'text.format.type' must be \"text\", \"json_object\" or \"json_schema\"");
    }
    if (form.error()) inner.fail(*form.error());
    echo["text"]["format"] = *format;
  }
  if (inner.error()) fields.fail(*inner.error());
}

void read_tools(Fields& fields, ResponsesRequest& result) {
  result.echo["tools"] = Json::array();
  const Json* tools = fields.array("tools");
  if (tools == nullptr) return;
  Json functions = Json::array();
  for (std::size_t i = 0; i < tools->size(); ++i) {
    const Json& tool = (*tools)[i];
    const std::string* type = text_member(tool, "type");
    if (type == nullptr) {
      return fields.fail("tools", fmt::format("'tools[{}]' must be an object with a 'type'", i));
    }
    if (const std::string_view hosted = hosted_tool(*type); !hosted.empty()) {
      if (std::ranges::find(result.left_out, hosted) == result.left_out.end()) result.left_out.emplace_back(hosted);
      continue;
    }
    if (*type != "function") {
      return fields.fail("tools",
                         fmt::format("'tools[{}].type' is {}: only \"function\" tools are supported, which the client "
                                     "describes and runs",
                                     i, dump_json(*type)));
    }
    auto function = flat_function(fields, tool, i, "parameters", /*needs_schema=*/false);
    if (!function) return;
    functions.push_back(std::move(*function));
    result.echo["tools"].push_back(tool);
  }
  if (!functions.empty()) result.chat["tools"] = std::move(functions);
}

/// {"mode", "tools"} with functions alone, as a chat names them.
void read_allowed(Fields& fields, const Json& choice, Json& chat) {
  Json allowed = {{"mode", "auto"}, {"tools", Json::array()}};
  if (const Json* mode = find_member(choice, "mode")) allowed["mode"] = *mode;
  const Json* tools = find_member(choice, "tools");
  if (tools == nullptr || !tools->is_array()) {
    return fields.fail("tool_choice", "'tool_choice.tools' must be an array of functions");
  }
  for (const Json& tool : *tools) {
    const std::string* type = text_member(tool, "type");
    if (type != nullptr && !hosted_tool(*type).empty()) continue;
    allowed["tools"].push_back(tool);
  }
  chat["tool_choice"] = {{"type", "allowed_tools"}, {"allowed_tools", std::move(allowed)}};
}

void read_tool_choice(Fields& fields, Json& chat, Json& echo) {
  const Json* choice = fields.find("tool_choice");
  echo["tool_choice"] = choice != nullptr ? *choice : Json("auto");
  if (choice == nullptr) return;
  const std::string* type = text_member(*choice, "type");
  const std::string* name = text_member(*choice, "name");
  if (*choice == "auto" || *choice == "none" || *choice == "required") {
    chat["tool_choice"] = *choice;
  } else if (type != nullptr && *type == "function" && name != nullptr) {
    chat["tool_choice"] = named_choice(*name);
  } else if (type != nullptr && *type == "allowed_tools") {
    read_allowed(fields, *choice, chat);
  } else if (type != nullptr && *type != "function") {
    fields.fail("tool_choice",
                fmt::format("'tool_choice.type' is {}: only functions can be called here", dump_json(*type)));
  } else {
    fields.fail("tool_choice",
                "'tool_choice' must be \"none\", \"auto\", \"required\", {\"type\": \"function\", \"name\": ...} or "
                "{\"type\": \"allowed_tools\", \"mode\": ..., \"tools\": [...]}");
  }
}

void read_length(Fields& fields, Json& chat, Json& echo) {
  echo["max_output_tokens"] = nullptr;
  fields.integer("max_tool_calls", 1, INT32_MAX);  // of the tools that are left out
  if (const auto length = fields.integer("max_output_tokens", 1, INT32_MAX)) {
    chat["max_completion_tokens"] = echo["max_output_tokens"] = *length;
  }
}

/// A prompt that does not fit is refused and never cut, whatever is asked for.
void read_truncation(Fields& fields) {
  const std::string truncation = fields.text("truncation").value_or("disabled");
  if (truncation == "disabled" || truncation == "auto") return;
  fields.fail("truncation", "'truncation' must be \"disabled\" or \"auto\"");
}

}  // namespace

ApiResult<ResponsesRequest> read_responses(const Json& body) {
  Fields fields(body);
  ResponsesRequest result;
  Json& chat = result.chat = Json::object();
  Json& echo = result.echo = Json::object();
  for (const std::string_view name : {"model", "lora_scale", "temperature", "top_p", "stream", "parallel_tool_calls"}) {
    copy_field(fields, name, chat);
  }
  refuse_kept(fields);
  read_include(fields);
  read_truncation(fields);
  read_length(fields, chat, echo);
  read_reasoning(fields, chat, echo);
  read_text(fields, chat, echo);
  read_tools(fields, result);
  read_tool_choice(fields, chat, echo);
  echo["parallel_tool_calls"] = chat.value("parallel_tool_calls", Json(true));
  echo["metadata"] = read_metadata(fields);
  Json messages = fields.ok() ? chat_of_input(fields) : Json();
  if (!fields.ok()) return tl::unexpected(*fields.error());
  const Json* instructions = fields.find("instructions");
  echo["instructions"] = instructions != nullptr ? *instructions : Json(nullptr);
  chat["messages"] = std::move(messages);
  return result;
}

ApiError in_responses_terms(ApiError error) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kNames = {
      {{"messages", "input"}, {"response_format", "text.format"}, {"max_completion_tokens", "max_output_tokens"}}};
  return in_terms(std::move(error), kNames);
}

}  // namespace commissure
