#include "api/chat_request.h"

#include <algorithm>
#include <array>

#include "api/explained_tools.h"
#include "api/grammar_fields.h"
#include "api/harmony_request.h"
#include "api/prompt_tokens.h"
#include "core/json_limits.h"

namespace commissure {

namespace {

constexpr std::size_t kMaxVariables = 256;

/// What becomes of a content's parts: text parts are one string, or stay parts where the template walks over them.
/// Images, where the request has any, stay parts for now, and so does what is beside them.
struct PartUse {
  bool keeps_parts = false;
  bool takes_images = false;
};

/// A message's content for the template. Empty when a part is of another kind.
std::optional<Json> content_text(Fields& fields, const std::string& where, const Json& content, PartUse use) {
  if (content.is_string()) return content;
  const auto refuse = [&](std::string message) {
    fields.fail(bad_field("messages", std::move(message)));
    return std::nullopt;
  };
  if (!content.is_array()) {
    return refuse(fmt::format("'{}.content' must be a string or an array of parts, not {}", where, kind_of(content)));
  }
  const bool keeps_parts = use.keeps_parts || (use.takes_images && std::ranges::any_of(content, is_taken_image));
  std::string text;
  Json parts = Json::array();
  for (const Json& part : content) {
    if (use.takes_images && is_taken_image(part)) {
      parts.push_back(part);
      continue;
    }
    const Json* type = find_member(part, "type");
    const std::string kind = type != nullptr && type->is_string() ? type->get<std::string>() : "";
    const Json* value = find_member(part, kind == "refusal" ? "refusal" : "text");
    if (kind != "text" && kind != "refusal" && kind != "input_text" && kind != "output_text") {
      return refuse(
          fmt::format("'{}.content' holds a part of type '{}'; this model takes text parts only", where, kind));
    }
    if (value == nullptr || !value->is_string())
      return refuse(fmt::format("'{}.content' holds a part without text", where));
    if (keeps_parts) {
      parts.push_back({{"type", "text"}, {"text", *value}});
    } else {
      text += value->get_ref<const std::string&>();
    }
  }
  return keeps_parts ? parts : Json(text);
}

/// Templates index into arguments, so the JSON text of the API becomes a value again where it is one; no text is {}.
Json template_tool_calls(const Json& calls, JsonAllowance& allowance) {
  Json result = calls;
  for (Json& call : result) {
    if (!call.is_object() || !call.contains("function") || !call["function"].is_object()) continue;
    Json& function = call["function"];
    Json& arguments = function["arguments"];
    if (arguments.is_null()) arguments = Json::object();
    if (!arguments.is_string()) continue;
    const auto& text = arguments.get_ref<const std::string&>();
    if (text.find_first_not_of(" \n\r\t") == std::string::npos) {
      arguments = Json::object();
    } else if (auto parsed = parse_json_within(text, allowance)) {
      arguments = std::move(*parsed);
    }
  }
  return result;
}

/// Clients send one of the names, templates know one of them.
void add_thoughts(const Json& message, Json& result) {
  static constexpr std::array<const char*, 3> kNames = {"reasoning_content", "reasoning", "thinking"};
  const Json* sent = nullptr;
  for (const char* name : kNames) {
    if (sent == nullptr) sent = find_member(message, name);
  }
  if (sent == nullptr) return;
  for (const char* name : kNames) {
    const Json* own = find_member(message, name);
    result[name] = own != nullptr ? *own : *sent;
  }
}

std::optional<Json> template_message(Fields& fields, const Json& message, std::size_t index,
                                     const ChatTemplate& chat_template, bool takes_images, JsonAllowance& allowance) {
  static constexpr std::array<std::string_view, 6> kRoles = {"system",    "developer", "user",
                                                             "assistant", "tool",      "function"};
  const std::string where = fmt::format("messages[{}]", index);
  const auto refuse = [&](std::string text) {
    fields.fail(bad_field("messages", std::move(text)));
    return std::nullopt;
  };
  if (!message.is_object()) return refuse(fmt::format("'{}' must be an object, not {}", where, kind_of(message)));
  const Json* role_value = find_member(message, "role");
  if (role_value == nullptr || !role_value->is_string())
    return refuse(fmt::format("'{}.role' must be a string", where));
  const std::string role = role_value->get<std::string>();
  if (std::find(kRoles.begin(), kRoles.end(), role) == kRoles.end()) {
    return refuse(fmt::format("'{}.role' is '{}', but must be one of {}", where, role, fmt::join(kRoles, ", ")));
  }
  Json result = {{"role", role == "developer" ? "system" : role}};
  const Json* calls = find_member(message, "tool_calls");
  if (const Json* content = find_member(message, "content")) {
    auto text = content_text(fields, where, *content, {chat_template.takes_parts(), takes_images});
    if (!text) return std::nullopt;
    result["content"] = std::move(*text);
  } else if (role != "assistant") {
    return refuse(fmt::format("'{}.content' is missing", where));
  } else {
    // Templates that know no tools join the content with texts.
    const bool has_calls = calls != nullptr && calls->is_array() && !calls->empty();
    result["content"] = has_calls && chat_template.knows_tool_calls() ? Json(nullptr) : Json("");
  }
  if (calls != nullptr && calls->is_array() && !calls->empty())
    result["tool_calls"] = template_tool_calls(*calls, allowance);
  for (const std::string_view name : {"name", "tool_call_id"}) {
    if (const Json* value = find_member(message, name)) result[std::string(name)] = *value;
  }
  add_thoughts(message, result);
  return result;
}

std::optional<Json> template_messages(Fields& fields, const ChatTemplate& chat_template, bool takes_images) {
  const Json* messages = fields.array("messages");
  if (messages == nullptr || messages->empty() || messages->size() > kMaxMessages) {
    fields.fail("messages", messages == nullptr ? "'messages' is missing: give at least one message"
                            : messages->empty() ? "'messages' is empty: give at least one message"
                                                : fmt::format("'messages' has {} entries, but may have at most {}",
                                                              messages->size(), kMaxMessages));
    return std::nullopt;
  }
  Json result = Json::array();
  JsonAllowance allowance;  // of all arguments together
  for (std::size_t i = 0; i < messages->size(); ++i) {
    auto message = template_message(fields, (*messages)[i], i, chat_template, takes_images, allowance);
    if (!message) return std::nullopt;
    result.push_back(std::move(*message));
  }
  return result;
}

/// What a template may look at of the model itself.
Json model_variables(const ServedModel& model) {
  const Tokenizer& tokenizer = *model.tokenizer;
  const auto spelled = [&](std::optional<TokenId> token) {
    return token ? std::string(tokenizer.token_text(*token)) : std::string();
  };
  Json variables = model.special_tokens;
  variables["bos_token"] = spelled(tokenizer.bos());
  variables["eos_token"] = spelled(tokenizer.eos());
  return variables;
}

/// What it may look at of the request, beside the messages.
Json request_variables(Fields& fields, const Json& tools) {
  Json variables = Json::object();
  variables["tools"] = tools.empty() ? Json() : tools;  // None, as transformers passes what is not given
  variables["documents"] = nullptr;
  variables["add_generation_prompt"] = fields.boolean("add_generation_prompt").value_or(true);
  if (const Json* documents = fields.array("documents")) variables["documents"] = *documents;
  if (const auto effort = fields.text("reasoning_effort")) {
    variables["reasoning_effort"] = *effort;
    variables["enable_thinking"] = *effort != "none";
  }
  if (const Json* more = fields.object("chat_template_kwargs")) {
    if (more->size() > kMaxVariables) {  // each is looked up among those before it
      fields.fail("chat_template_kwargs", fmt::format("'chat_template_kwargs' has {} entries, but may have at most {}",
                                                      more->size(), kMaxVariables));
      return variables;
    }
    for (const auto& [name, value] : more->items()) {
      if (name != "tools" || tools.empty()) variables[name] = value;
    }
  }
  return variables;
}

/// Contents with images as one text each, with `place` where an image is.
Json with_places(Json messages, std::string_view place) {
  for (Json& message : messages) {
    const auto content = message.find("content");
    if (content == message.end() || !content->is_array() || std::ranges::none_of(*content, is_taken_image)) continue;
    std::string text;
    for (const Json& part : *content) {
      text += is_taken_image(part) ? place : std::string_view(part["text"].get_ref<const std::string&>());
    }
    *content = std::move(text);
  }
  return messages;
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  std::string result;
  std::size_t done = 0;
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, done)) {
    result.append(text, done, at - done).append(to);
    done = at + from.size();
  }
  if (done > 0) text = result.append(text, done);
}

/// How a request's messages are rendered.
struct RenderUse {
  bool sanitize = false;
  /// Stands for images in texts that are given to the template; "" where the request has none.
  std::string image_place = {};
};

/// Errors: what the client is told, kInvalidArgument.
Result<ChatPrompt> render_given(const ServedModel& model, Json given, const RenderUse& use,
                                const Unwanted& is_unwanted) {
  const bool has_images = !use.image_place.empty();
  std::string mark;
  if (use.sanitize || has_images) {
    mark = unused_mark(given, use.image_place);
    if (mark.empty()) {
      return Error(Code::kInvalidArgument,
                   "the messages hold every noncharacter of Unicode, so none is left to mark their text with");
    }
    const Spellings spellings{use.sanitize ? model.tokenizer.get() : nullptr,
                              has_images ? std::string_view(model.image_encoder->marks().mark) : ""};
    given = with_marks(given, spellings, mark);
  }
  Json variables = model_variables(model);
  for (auto& [name, value] : given.items()) variables[name] = std::move(value);
  auto text = model.chat_template->render(variables, {.is_unwanted = is_unwanted});
  if (!text) {
    return Error(Code::kInvalidArgument, "the model's chat template refused the messages: ", text.error().message());
  }
  if (has_images) replace_all(*text, use.image_place, model.image_encoder->marks().mark);
  return mark.empty() ? ChatPrompt{std::move(*text)} : without_marks(*text, mark);
}

int read_max_tokens(Fields& fields) {
  const auto newer = read_length(fields, "max_completion_tokens", 1);
  const auto older = read_length(fields, "max_tokens", 1);
  return newer.value_or(older.value_or(-1));
}

}  // namespace

ChatPrompt render_chat(Fields& fields, const ServedModel& model, const Json& tools, bool sanitize,
                       const Unwanted& is_unwanted, std::size_t n_images) {
  if (model.chat_template == nullptr) {
    if (!model.chat_template_problem.empty()) {
      fields.fail("messages", "the model's " + model.chat_template_problem +
                                  "; send a 'prompt' to /v1/completions, or start with --chat-template");
      return {};
    }
    fields.fail("messages", "this model has no chat template: send a 'prompt' to /v1/completions instead");
    return {};
  }
  auto messages = template_messages(fields, *model.chat_template, n_images > 0);
  if (!messages) return {};
  const bool is_harmony = model.chat_template->has_channels();
  if (is_harmony) *messages = harmony_messages(std::move(*messages));
  Json variables = request_variables(fields, tools);
  if (!fields.ok()) return {};
  if (is_harmony && !tools.empty()) variables["tools"] = harmony_tools(std::move(variables["tools"]));
  RenderUse use{.sanitize = sanitize};
  if (n_images > 0) {
    use.image_place = unused_mark(Json::array({variables, *messages}));
    if (use.image_place.empty()) fields.fail("messages", "the messages hold every noncharacter of Unicode");
    if (!fields.ok()) return {};
  }
  const auto render = [&](Json shown) {
    Json given = variables;
    given["messages"] = std::move(shown);
    return render_given(model, std::move(given), use, is_unwanted);
  };
  const bool is_about_tools = !tools.empty() || std::ranges::any_of(*messages, [](const Json& message) {
    return message["role"] == "tool" || message["role"] == "function" || message.contains("tool_calls");
  });
  const bool is_explained = is_about_tools && model.answer_syntax.explains_tools;
  if (n_images > 0 && (is_explained || !model.chat_template->takes_parts())) {
    *messages = with_places(std::move(*messages), use.image_place);
  }
  auto prompt = render(is_explained ? with_tools_explained(*messages, tools, /*has_system=*/true) : *messages);
  if (!prompt && is_explained && (*messages)[0]["role"] != "system") {  // the template may have no system message
    prompt = render(with_tools_explained(*messages, tools, /*has_system=*/false));
  }
  if (!prompt) {
    fields.fail("messages", prompt.error().message());
    return {};
  }
  if (auto error = check_images(model, *prompt, n_images)) fields.fail(std::move(*error));
  return std::move(*prompt);
}

ApiResult<ChatRequest> parse_chat_request(const Json& body, const ServedModel& model, const ApiOptions& options,
                                          const Unwanted& is_unwanted, const RequestImages& images) {
  Fields fields(body);
  check_model(fields, model, options);
  ChatRequest result{.fields = read_generation_fields(fields, model, options)};
  GenerationRequest& request = result.fields.request;

  request.max_tokens = read_max_tokens(fields);
  check_min_tokens(fields, request);
  read_choices(fields, result.fields);
  refuse_choices(fields, "best_of");
  result.logprobs = fields.boolean("logprobs").value_or(false);
  const auto top = fields.integer("top_logprobs", 0, kMaxTopLogprobs);
  if (top && !result.logprobs) fields.fail("top_logprobs", "'top_logprobs' needs 'logprobs' to be true");
  if (result.logprobs) request.sampling.n_logprobs = static_cast<int>(top.value_or(0));
  read_prompt_logprobs(fields, request);
  if (fields.boolean("echo").value_or(false)) fields.fail("echo", "'echo' is not supported here; use /v1/completions");

  const ToolFields tools = read_tool_fields(fields, model);
  const GrammarFields grammar = read_grammar_fields(fields, is_unwanted);
  if (!fields.ok()) return tl::unexpected(*fields.error());
  ChatPrompt prompt = render_chat(fields, model, tools.tools, sanitizes(fields, options), is_unwanted, images.size());
  result.plan = plan_answer(model, tools, grammar.source.has_value(), prompt);
  if (fields.ok()) hold_chat(fields, model, grammar, tools, result.plan.get(), prompt.text, request);
  request.shown_tokens = shown_tokens(result.plan.get(), model);
  if (auto error = check_text(model, options, prompt.text, "messages")) fields.fail(*error);
  if (!fields.ok()) return tl::unexpected(*fields.error());
  const bool add_special = fields.boolean("add_special_tokens").value_or(false);
  auto tokens = encode_prompt(prompt, images, model, add_special, request.max_tokens, is_unwanted);
  if (!tokens) return tl::unexpected(std::move(tokens.error()));
  request.prompt = std::move(tokens->tokens);
  request.images = std::move(tokens->images);
  if (request.prompt.empty()) fields.fail("messages", "the messages give an empty prompt");
  if (!fields.ok()) return tl::unexpected(*fields.error());
  request.max_tokens = fit_tokens(model, request.prompt.size(), request.max_tokens);
  return result;
}

}  // namespace commissure
