#include "api/tool_fields.h"

#include <algorithm>
#include <utility>

#include "answer/spaces.h"
#include "api/generation_fields.h"
#include "api/openai.h"

namespace commissure {

namespace {

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

bool is_function_name(std::string_view name) {
  const auto is_good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
  };
  return !name.empty() && name.size() <= kMaxFunctionName && std::ranges::all_of(name, is_good);
}

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

std::shared_ptr<const AnswerPlan> plan_answer(const ServedModel& model, const ToolFields& asked, bool is_held,
                                              ChatPrompt& prompt) {
  auto plan = std::make_shared<AnswerPlan>();
  plan->syntax = model.answer_syntax;
  if (asked.tools.empty()) plan->syntax.calls.clear();
  if (!asked.reads_thoughts) plan->syntax.think_open = plan->syntax.think_close = "";
  if (plan->syntax.calls.empty() && plan->syntax.think_open.empty() && !plan->syntax.has_channels) return nullptr;
  const std::string_view mark = without_trailing_space(model.answer_syntax.think_open);
  const bool is_thinking = !mark.empty() && without_trailing_space(prompt.text).ends_with(mark);
  if (asked.must_call && !plan->syntax.calls.empty()) {
    if (is_thinking) prompt.text += ended_thought(model.answer_syntax);
    plan->prefix = forced_call(plan->syntax, asked.function);
    prompt.text += plan->prefix;
  } else if (is_held && plan->syntax.has_channels) {
    if (is_thinking) prompt.text += ended_thought(model.answer_syntax);
    plan->prefix = begun_text(plan->syntax);
    prompt.text += plan->prefix;
  } else if (is_thinking && !plan->syntax.think_open.empty()) {
    plan->prefix = plan->syntax.think_open;
  }
  plan->is_held = is_held;
  const bool spells_types =
      std::ranges::any_of(plan->syntax.calls, [](const CallMark& mark) { return mark.form == CallForm::kTagged; });
  plan->functions = answer_functions(asked.tools, spells_types);
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
