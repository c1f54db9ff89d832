#include "api/ollama_request.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <utility>

#include "api/chat_translation.h"
#include "api/chat_turns.h"
#include "api/fields.h"
#include "api/generation_fields.h"
#include "api/request_images.h"

namespace commissure {

namespace {

/// Adds messages of a chat, message by message.
class OllamaHistory {
 public:
  explicit OllamaHistory(Fields& fields) : fields_(fields) {}

  void add(const Json& message, std::size_t index) {
    constexpr std::array<std::string_view, 4> kRoles = {"system", "user", "assistant", "tool"};
    const std::string where = fmt::format("messages[{}]", index);
    if (!message.is_object()) return refuse(fmt::format("'{}' must be an object, not {}", where, kind_of(message)));
    const std::string* role = text_member(message, "role");
    if (role == nullptr || std::ranges::find(kRoles, *role) == kRoles.end()) {
      return refuse(fmt::format("'{}.role' must be \"system\", \"user\", \"assistant\" or \"tool\"", where));
    }
    for (const char* name : {"content", "thinking", "tool_name", "tool_call_id"}) {
      const Json* value = find_member(message, name);
      if (value == nullptr || value->is_string()) continue;
      return refuse(fmt::format("'{}.{}' must be a string, not {}", where, name, kind_of(*value)));
    }
    const std::string* content = text_member(message, "content");
    if (*role == "tool") return add_result(message, content != nullptr ? *content : "");
    turns_.begin(*role);
    if (const std::string* thought = text_member(message, "thinking"); thought != nullptr && *role == "assistant")
      turns_.add_thought(*thought);
    const Json* calls = *role == "assistant" ? find_member(message, "tool_calls") : nullptr;
    const bool has_calls = calls != nullptr && calls->is_array() && !calls->empty();
    if (content != nullptr && !(has_calls && content->empty())) turns_.add_text(*content);
    if (content == nullptr && !has_calls) turns_.add_text("");
    if (const Json* images = find_member(message, "images")) add_images(*images, where + ".images");
    if (calls != nullptr) add_calls(*calls, where + ".tool_calls");
  }

  void add_turn(std::string_view role, const std::string& text) {
    turns_.begin(role);
    turns_.add_text(text);
  }

  void add_images(const Json& images, const std::string& where, std::string_view param = "messages") {
    const auto refuse_images = [&] {
      fields_.fail(param, fmt::format("'{}' must be an array of images in base64", where));
    };
    if (!images.is_array()) return refuse_images();
    for (const Json& image : images) {
      if (!is_taken_image(image)) return refuse_images();
      turns_.add_image();
    }
  }

  Json take() { return turns_.take(); }

 private:
  void refuse(std::string message) { fields_.fail("messages", std::move(message)); }

  /// Calls have no ids here, but templates want some: nine letters and digits, as the strictest does.
  void add_calls(const Json& calls, const std::string& where) {
    if (!calls.is_array()) return refuse(fmt::format("'{}' must be an array, not {}", where, kind_of(calls)));
    for (std::size_t i = 0; i < calls.size(); ++i) {
      const Json* function = find_member(calls[i], "function");
      const std::string* name = function != nullptr ? text_member(*function, "name") : nullptr;
      if (name == nullptr) return refuse(fmt::format("'{}[{}].function.name' must be a string", where, i));
      const Json* arguments = find_member(*function, "arguments");
      if (arguments != nullptr && !arguments->is_object()) {
        return refuse(
            fmt::format("'{}[{}].function.arguments' must be an object, not {}", where, i, kind_of(*arguments)));
      }
      const std::string* given = text_member(calls[i], "id");
      const std::string id =
          given != nullptr && !given->empty() ? *given : fmt::format("call{:05}", n_calls_ % 100'000);
      ++n_calls_;
      open_.emplace_back(*name, id);
      turns_.add_call(id, *name, arguments != nullptr ? *arguments : Json::object());
    }
  }

  /// The result belongs to the call of its id, or to the first call of its name that has none yet, or to the first one.
  void add_result(const Json& message, const std::string& text) {
    const std::string* id = text_member(message, "tool_call_id");
    const std::string* name = text_member(message, "tool_name");
    auto call = std::ranges::find_if(open_, [&](const auto& one) {
      if (id != nullptr) return one.second == *id;
      return name == nullptr || one.first == *name;
    });
    std::string call_id = id != nullptr ? *id : call != open_.end() ? call->second : "";
    if (call != open_.end()) open_.erase(call);
    turns_.add_result(call_id, text, name != nullptr ? *name : "");
  }

  Fields& fields_;
  ChatTurns turns_;
  std::deque<std::pair<std::string, std::string>> open_;  // calls without a result: function, id
  int n_calls_ = 0;
};

/// How tokens are drawn. What says how a machine shall compute has no meaning here.
void read_options(Fields& fields, Json& body, bool is_raw) {
  body[is_raw ? "max_tokens" : "max_completion_tokens"] = -1;
  const Json* options = fields.object("options");
  if (options == nullptr) return;
  Fields inner(*options, "options.");
  for (const std::string_view name :
       {"temperature", "top_k", "top_p", "min_p", "typical_p", "repeat_penalty", "presence_penalty",
        "frequency_penalty", "seed", "mirostat", "mirostat_tau", "mirostat_eta"}) {
    copy_field(inner, name, body);
  }
  if (auto stop = inner.texts("stop", kMaxStops, kMaxStopBytes)) body["stop"] = std::move(*stop);
  // -1 and 0 are no limit, and so is -2, which fills the context.
  if (const auto length = inner.integer("num_predict", -2, INT32_MAX); length && *length > 0) {
    body[is_raw ? "max_tokens" : "max_completion_tokens"] = *length;
  }
  inner.integer("num_ctx", 1, INT32_MAX);
  if (inner.error()) fields.fail(*inner.error());
}

/// "json", or a schema.
void read_format(Fields& fields, Json& body) {
  const Json* format = fields.find("format");
  if (format == nullptr || *format == "") return;
  if (*format == "json") {
    body["response_format"] = {{"type", "json_object"}};
  } else if (format->is_object()) {
    body["response_format"] = {{"type", "json_schema"}, {"json_schema", {{"schema", *format}}}};
  } else {
    fields.fail("format", "'format' must be \"json\" or a JSON schema, an object");
  }
}

/// The template decides where nothing is said.
void read_think(Fields& fields, Json& body) {
  constexpr std::array<std::string_view, 4> kLevels = {"low", "medium", "high", "max"};
  const Json* think = fields.find("think");
  if (think == nullptr) return;
  if (think->is_boolean()) {
    body["chat_template_kwargs"] = {{"enable_thinking", *think}};
    if (!think->get<bool>()) body["include_reasoning"] = false;
  } else if (think->is_string() && std::ranges::find(kLevels, think->get_ref<const std::string&>()) != kLevels.end()) {
    body["reasoning_effort"] = *think;
  } else {
    fields.fail("think", fmt::format("'think' must be true, false or one of {}", fmt::join(kLevels, ", ")));
  }
}

void read_keep_alive(Fields& fields, OllamaRequest& result) {
  const Json* keep = fields.find("keep_alive");
  if (keep == nullptr) return;
  if (!keep->is_string() && !keep->is_number()) {
    return fields.fail(
        "keep_alive",
        fmt::format("'keep_alive' must be a number of seconds or a duration like \"5m\", not {}", kind_of(*keep)));
  }
  result.is_unload = *keep == 0 || *keep == "0" || *keep == "0s";
}

void refuse_text(Fields& fields, std::string_view name, std::string_view cure) {
  if (!fields.text(name).value_or("").empty()) refuse_field(fields, name, cure);
}

void read_chat(Fields& fields, OllamaRequest& result) {
  copy_field(fields, "tools", result.body);
  const Json* messages = fields.array("messages");
  result.is_empty = messages == nullptr || messages->empty();
  if (result.is_empty) return;
  OllamaHistory history(fields);
  for (std::size_t i = 0; i < messages->size() && fields.ok(); ++i) history.add((*messages)[i], i);
  result.body["messages"] = history.take();
}

void read_generate(Fields& fields, OllamaRequest& result) {
  refuse_text(fields, "suffix", ": it fills no gaps; leave it out");
  refuse_text(fields, "template", "; the model's own is used, or send the whole 'prompt' with \"raw\": true");
  if (const Json* context = fields.array("context"); context != nullptr && !context->empty()) {
    refuse_field(fields, "context", "; use /api/chat and send the messages");
  }
  const std::string prompt = fields.text("prompt").value_or("");
  const std::string system = fields.text("system").value_or("");
  const Json* images = fields.find("images");
  const bool has_images = images != nullptr && !(images->is_array() && images->empty());
  result.is_empty = prompt.empty() && !has_images;
  if (result.is_raw) {
    if (has_images) refuse_field(fields, "images", " with \"raw\": true; leave one of them out");
    if (!system.empty()) refuse_field(fields, "system", " with \"raw\": true; put it into the prompt");
    result.body["prompt"] = prompt;
    return;
  }
  OllamaHistory history(fields);
  if (!system.empty()) history.add_turn("system", system);
  history.add_turn("user", prompt);
  if (has_images) history.add_images(*images, "images", "images");
  result.body["messages"] = history.take();
}

}  // namespace

ApiResult<OllamaRequest> read_ollama(const Json& body, OllamaUse use) {
  Fields fields(body);
  OllamaRequest result{.body = Json::object()};
  result.is_raw = use == OllamaUse::kGenerate && fields.boolean("raw").value_or(false);
  result.model = fields.text("model").value_or("");
  if (!result.model.empty()) result.body["model"] = without_latest(result.model);
  result.stream = fields.boolean("stream").value_or(true);
  result.body["stream"] = result.stream;
  read_options(fields, result.body, result.is_raw);
  read_format(fields, result.body);
  read_keep_alive(fields, result);
  if (!result.is_raw) {
    read_think(fields, result.body);
    for (const std::string_view name : {"logprobs", "top_logprobs"}) copy_field(fields, name, result.body);
  } else if (fields.boolean("logprobs").value_or(false)) {
    refuse_field(fields, "logprobs", " with \"raw\": true; /v1/completions has them");
  }
  use == OllamaUse::kChat ? read_chat(fields, result) : read_generate(fields, result);
  if (!fields.ok()) return tl::unexpected(*fields.error());
  return result;
}

std::string without_latest(const std::string& name) {
  constexpr std::string_view kTag = ":latest";
  return name.ends_with(kTag) ? name.substr(0, name.size() - kTag.size()) : name;
}

ApiError in_ollama_terms(ApiError error) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kNames = {
      {{"response_format", "format"},
       {"max_completion_tokens", "options.num_predict"},
       {"max_tokens", "options.num_predict"}}};
  return in_terms(std::move(error), kNames);
}

}  // namespace commissure
