#include "api/ollama_request.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "api/chat_request.h"
#include "api/chat_translation.h"
#include "api/chat_turns.h"
#include "api/fields.h"
#include "api/generation_fields.h"
#include "api/request_images.h"

namespace commissure {

namespace {

/// Calls that have no result yet. All of a history take time in proportion to their number.
class OpenCalls {
 public:
  void add(const std::string& id, const std::string& name) {
    const std::size_t call = ids_.size();
    ids_.push_back(id);
    is_open_.push_back(true);
    by_id_[id].push_back(call);
    by_name_[name].push_back(call);
    in_order_.push_back(call);
  }

  /// The id of the call that a result of this id, or else of this name, or else of neither belongs to; "": none.
  std::string take(const std::string* id, const std::string* name) {
    std::deque<std::size_t>& calls = id != nullptr ? by_id_[*id] : name != nullptr ? by_name_[*name] : in_order_;
    while (!calls.empty()) {
      const std::size_t call = calls.front();
      calls.pop_front();
      if (!is_open_[call]) continue;
      is_open_[call] = false;
      return ids_[call];
    }
    return "";
  }

 private:
  std::vector<std::string> ids_;
  std::vector<bool> is_open_;
  std::map<std::string, std::deque<std::size_t>> by_id_, by_name_;
  std::deque<std::size_t> in_order_;
};

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
    const Json* images = find_member(message, "images");
    const auto n_images = images != nullptr ? count_images(*images, where + ".images") : 0;
    if (!fields_.ok()) return;
    if (*role == "tool") return add_result(message, n_images, content != nullptr ? *content : "");
    turns_.begin(*role);
    for (std::size_t i = 0; i < n_images; ++i) turns_.add_image();
    if (const std::string* thought = text_member(message, "thinking"); thought != nullptr && *role == "assistant")
      turns_.add_thought(*thought);
    const Json* calls = *role == "assistant" ? find_member(message, "tool_calls") : nullptr;
    const bool has_calls = calls != nullptr && calls->is_array() && !calls->empty();
    if (content != nullptr && !(has_calls && content->empty())) turns_.add_text(*content);
    if (content == nullptr && !has_calls) turns_.add_text("");
    if (calls != nullptr) add_calls(*calls, where + ".tool_calls");
  }

  /// The images stand before the text, as Ollama has them.
  void add_turn(std::string_view role, const std::string& text, std::size_t n_images = 0) {
    turns_.begin(role);
    for (std::size_t i = 0; i < n_images; ++i) turns_.add_image();
    turns_.add_text(text);
  }

  /// Of a list that take_images has seen.
  std::size_t count_images(const Json& images, const std::string& where, std::string_view param = "messages") {
    if (images.is_array() && std::ranges::all_of(images, is_taken_image)) return images.size();
    fields_.fail(param, fmt::format("'{}' must be an array of images in base64", where));
    return 0;
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
      open_.add(id, *name);
      turns_.add_call(id, *name, arguments != nullptr ? *arguments : Json::object());
    }
  }

  /// The result belongs to the call of its id, or to the first call of its name that has none yet, or to the first one.
  void add_result(const Json& message, std::size_t n_images, const std::string& text) {
    const std::string* id = text_member(message, "tool_call_id");
    const std::string* name = text_member(message, "tool_name");
    const std::string call_id = open_.take(id, name);
    Json content = text;
    if (n_images > 0) {
      content = Json::array();
      for (std::size_t i = 0; i < n_images; ++i) content.push_back({{"type", "image"}});
      if (!text.empty()) content.push_back({{"type", "text"}, {"text", text}});
    }
    turns_.add_result(id != nullptr ? *id : call_id, std::move(content), name != nullptr ? *name : "");
  }

  Fields& fields_;
  ChatTurns turns_;
  OpenCalls open_;
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
  if (messages->size() > kMaxMessages) {
    return fields.fail(
        "messages", fmt::format("'messages' has {} entries, but may have at most {}", messages->size(), kMaxMessages));
  }
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
  history.add_turn("user", prompt, has_images ? history.count_images(*images, "images", "images") : 0);
  result.body["messages"] = history.take();
}

}  // namespace

ApiResult<OllamaRequest> read_ollama(const Json& body, OllamaUse use) {
  Fields fields(body);
  OllamaRequest result{.body = Json::object()};
  result.is_raw = use == OllamaUse::kGenerate && fields.boolean("raw").value_or(false);
  result.model = fields.text("model").value_or("");
  if (!result.model.empty()) result.body["model"] = without_latest(result.model);
  copy_field(fields, "lora_scale", result.body);
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
