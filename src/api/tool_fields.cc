#include "api/tool_fields.h"

#include <algorithm>
#include <utility>

#include "api/generation_fields.h"
#include "api/openai.h"

namespace commissure {

namespace {

constexpr std::size_t kMaxFunctionName = 64;

bool is_function_name(std::string_view name) {
  const auto is_good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
  };
  return !name.empty() && name.size() <= kMaxFunctionName && std::ranges::all_of(name, is_good);
}

void refuse(Fields& fields, std::string_view name, std::string message) {
  fields.fail(bad_field(name, std::move(message)));
}

/// The function's name; empty after a finding.
std::string read_tool(Fields& fields, const Json& tool, std::size_t index) {
  const std::string where = fmt::format("tools[{}]", index);
  const auto fail = [&](std::string_view what) {
    refuse(fields, "tools", fmt::format("'{}{}", where, what));
    return std::string();
  };
  const Json* type = find_member(tool, "type");
  if (type != nullptr && *type != "function") return fail(".type' must be \"function\": no other tools are supported");
  const Json* function = find_member(tool, "function");
  if (function == nullptr || !function->is_object()) return fail(".function' must be an object with a 'name'");
  const Json* name = find_member(*function, "name");
  if (name == nullptr || !name->is_string() || !is_function_name(name->get_ref<const std::string&>())) {
    return fail(fmt::format(".function.name' must have 1 to {} of the characters a-z, A-Z, 0-9, '_', '-' and '.'",
                            kMaxFunctionName));
  }
  for (const auto& [member, kind] : {std::pair("description", "a string"), std::pair("parameters", "an object")}) {
    const Json* value = find_member(*function, member);
    if (value != nullptr && kind_of(*value) != kind) return fail(fmt::format(".function.{}' must be {}", member, kind));
  }
  return name->get<std::string>();
}

/// The names, in the order of `tools`.
std::vector<std::string> read_tools(Fields& fields, ToolFields& result) {
  const Json* tools = fields.array("tools");
  if (tools == nullptr || tools->empty()) return {};
  if (tools->size() > kMaxTools) {
    refuse(fields, "tools", fmt::format("'tools' has {} entries, but may have at most {}", tools->size(), kMaxTools));
    return {};
  }
  std::vector<std::string> names;
  for (std::size_t i = 0; i < tools->size(); ++i) {
    std::string name = read_tool(fields, (*tools)[i], i);
    if (name.empty()) return {};
    if (std::ranges::find(names, name) != names.end()) {
      refuse(fields, "tools", fmt::format("'tools' has two functions named '{}'", name));
      return {};
    }
    names.push_back(std::move(name));
    result.tools.push_back((*tools)[i]);
    result.tools.back()["type"] = "function";
  }
  return names;
}

/// {"type": "function", "function": {"name": NAME}}, or the name beside the type; empty: neither.
std::string chosen_name(const Json& choice) {
  const Json* inner = find_member(choice, "function");
  const Json* name = find_member(inner != nullptr ? *inner : choice, "name");
  return name != nullptr && name->is_string() ? name->get<std::string>() : "";
}

/// {"mode": "auto"|"required", "tools": [...]}: these alone are shown to the model.
void allow_tools(Fields& fields, const Json& allowed, const std::vector<std::string>& names, ToolFields& result) {
  const Json* mode = find_member(allowed, "mode");
  const Json* tools = find_member(allowed, "tools");
  if (mode == nullptr || (*mode != "auto" && *mode != "required") || tools == nullptr || !tools->is_array() ||
      tools->size() > kMaxTools) {
    return refuse(
        fields, "tool_choice",
        fmt::format("'tool_choice.allowed_tools' must have a 'mode' of \"auto\" or \"required\" and at most {} 'tools'",
                    kMaxTools));
  }
  std::vector<bool> is_allowed(names.size());
  for (const Json& tool : *tools) {
    const auto found = std::ranges::find(names, chosen_name(tool));
    if (found == names.end()) {
      return refuse(fields, "tool_choice", "'tool_choice.allowed_tools' names a function that is not among 'tools'");
    }
    is_allowed[static_cast<std::size_t>(found - names.begin())] = true;
  }
  Json kept = Json::array();
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (is_allowed[i]) kept.push_back(std::move(result.tools[i]));
  }
  result.tools = std::move(kept);
  result.must_call = *mode == "required" && !result.tools.empty();
}

void read_choice(Fields& fields, const std::vector<std::string>& names, ToolFields& result) {
  const Json* choice = fields.find("tool_choice");
  if (choice == nullptr || *choice == "auto") return;
  const Json* allowed = find_member(*choice, "allowed_tools");
  const std::string name = chosen_name(*choice);
  if (*choice != "required" && allowed == nullptr && name.empty()) {
    return refuse(fields, "tool_choice",
                  "'tool_choice' must be \"none\", \"auto\", \"required\", {\"type\": \"function\", \"function\": "
                  "{\"name\": ...}} or {\"type\": \"allowed_tools\", \"allowed_tools\": ...}");
  }
  if (names.empty()) return refuse(fields, "tool_choice", "'tool_choice' asks for a call, but 'tools' has no function");
  if (allowed != nullptr) return allow_tools(fields, *allowed, names, result);
  if (!name.empty() && std::ranges::find(names, name) == names.end()) {
    return refuse(fields, "tool_choice", fmt::format("'tool_choice' names '{}', which is not among 'tools'", name));
  }
  result.must_call = true;
  result.function = name;
  result.is_one_call = result.is_one_call || !name.empty();
}

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
  const std::string before = text_of(messages.back());
  messages.back()["content"] = before.empty() ? text : before + std::string(between) + text;
}

std::string_view without_trailing_space(std::string_view text) {
  return text.substr(0, text.find_last_not_of(" \n\r\t") + 1);
}

/// The control tokens that the marks are spelled with.
std::vector<TokenId> control_tokens(const AnswerSyntax& syntax, const Tokenizer& tokenizer) {
  std::vector<TokenId> tokens;
  for (const std::string& mark : syntax.marks()) {
    for (const TokenId token : tokenizer.encode(mark, {.add_special = false, .parse_special = true})) {
      if (tokenizer.is_control(token) && std::ranges::find(tokens, token) == tokens.end()) tokens.push_back(token);
    }
  }
  return tokens;
}

std::string short_id() {
  std::string id = random_id("");
  id.resize(9);
  return id;
}

}  // namespace

ToolFields read_tool_fields(Fields& fields, const ServedModel& model) {
  ToolFields result;
  const Json* choice = fields.find("tool_choice");
  const bool takes_none = choice != nullptr && *choice == "none";
  result.is_one_call = !fields.boolean("parallel_tool_calls").value_or(true);
  if (!takes_none) {
    const std::vector<std::string> names = read_tools(fields, result);
    read_choice(fields, names, result);
  }
  if (!result.tools.empty() && model.chat_template != nullptr && model.answer_syntax.calls.empty()) {
    refuse_field(fields, "tools", ", which was started with --tool-parser none; leave it out");
  }
  if (result.must_call && result.function.empty() && result.tools.size() == 1) {  // no choice at all
    result.function = result.tools[0]["function"]["name"].get<std::string>();
  }
  result.hides_thoughts = !fields.boolean("include_reasoning").value_or(true);
  const std::string format = fields.text("reasoning_format").value_or("auto");
  if (format != "none" && format != "auto" && format != "deepseek") {
    refuse(fields, "reasoning_format", "'reasoning_format' must be \"auto\", \"deepseek\" or \"none\"");
  }
  result.reads_thoughts = format != "none";
  return result;
}

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

std::shared_ptr<const AnswerPlan> plan_answer(const ServedModel& model, ToolFields asked, ChatPrompt& prompt) {
  auto plan = std::make_shared<AnswerPlan>();
  plan->syntax = model.answer_syntax;
  if (asked.tools.empty()) plan->syntax.calls.clear();
  if (!asked.reads_thoughts) plan->syntax.think_open = plan->syntax.think_close = "";
  if (plan->syntax.calls.empty() && plan->syntax.think_open.empty()) return nullptr;
  const std::string_view mark = without_trailing_space(model.answer_syntax.think_open);
  const bool is_thinking = !mark.empty() && without_trailing_space(prompt.text).ends_with(mark);
  if (asked.must_call && !plan->syntax.calls.empty()) {
    if (is_thinking) prompt.text += "\n" + model.answer_syntax.think_close + "\n\n";
    plan->prefix = forced_call(plan->syntax, asked.function);
    prompt.text += plan->prefix;
  } else if (is_thinking && !plan->syntax.think_open.empty()) {
    plan->prefix = plan->syntax.think_open;
  }
  plan->tools = std::move(asked.tools);
  plan->is_one_call = asked.is_one_call;
  plan->hides_reasoning = asked.hides_thoughts;
  plan->new_id = plan->syntax.has_short_ids ? short_id : [] { return random_id("call_"); };
  for (const TokenId token : control_tokens(plan->syntax, *model.tokenizer)) {
    plan->control_marks.push_back(model.tokenizer->token_bytes(token, /*show_control=*/true));
  }
  return plan;
}

std::vector<TokenId> shown_tokens(const AnswerPlan* plan, const ServedModel& model) {
  std::vector<TokenId> shown = control_tokens(model.answer_syntax.thoughts(), *model.tokenizer);
  if (plan == nullptr) return shown;
  for (const TokenId token : control_tokens(plan->syntax, *model.tokenizer)) {
    if (std::ranges::find(shown, token) == shown.end()) shown.push_back(token);
  }
  return shown;
}

}  // namespace commissure
