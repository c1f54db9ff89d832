#include "api/grammar_fields.h"

#include <algorithm>
#include <array>
#include <utility>

#include "answer/held_call.h"
#include "answer/spaces.h"
#include "api/openai.h"

namespace commissure {

namespace {

using Form = GrammarSource::Form;

void refuse(Fields& fields, std::string_view name, std::string message) {
  fields.fail(bad_field(fields.full_name(name), std::move(message)));
}

/// Absent, null, false and empty ones ask for nothing.
const Json* asked(const Fields& fields, std::string_view name) {
  const Json* value = fields.find(name);
  const bool is_neutral = value == nullptr || *value == false || *value == "";
  return is_neutral ? nullptr : value;
}

/// Any JSON object.
GrammarSource any_object() { return GrammarSource::of(Form::kJsonSchema, R"({"type":"object"})"); }

std::optional<GrammarSource> schema_source(Fields& fields, std::string_view name, const Json& value) {
  if (value.is_object()) return GrammarSource::of(Form::kJsonSchema, dump_json(value));
  if (value.is_string()) return GrammarSource::of(Form::kJsonSchema, value.get<std::string>());
  refuse(fields, name, fmt::format("'{}' must be a JSON schema, an object, not {}", name, kind_of(value)));
  return std::nullopt;
}

std::optional<GrammarSource> text_source(Fields& fields, std::string_view name, Form form, const Json& value) {
  if (value.is_string()) return GrammarSource::of(form, value.get<std::string>());
  refuse(fields, name, fmt::format("'{}' must be a string, not {}", name, kind_of(value)));
  return std::nullopt;
}

std::optional<GrammarSource> choice_source(Fields& fields, std::string_view name, const Json& value) {
  GrammarSource source;
  const bool is_list = value.is_array() && !value.empty() && value.size() <= kMaxGrammarChoices &&
                       std::ranges::all_of(value, [](const Json& text) { return text.is_string() && text != ""; });
  if (!is_list) {
    refuse(fields, name,
           fmt::format("'{}' must be an array of 1 to {} strings that are not empty", name, kMaxGrammarChoices));
    return std::nullopt;
  }
  for (const Json& text : value) source.choices.push_back({{Form::kText, text.get<std::string>()}});
  return source;
}

/// OpenAI's, and llama-server's, which puts the schema beside the type.
std::optional<GrammarSource> read_response_format(Fields& fields) {
  const Json* format = fields.object("response_format");
  if (format == nullptr || format->empty()) return std::nullopt;
  const Json* type = find_member(*format, "type");
  const Json* inner = find_member(*format, "json_schema");
  const Json* schema = find_member(inner != nullptr ? *inner : *format, "schema");
  if (type != nullptr && *type == "text") return std::nullopt;
  if (type != nullptr && *type == "json_object" && schema == nullptr) return any_object();
  if (type == nullptr || (*type != "json_schema" && *type != "json_object")) {
    refuse(fields, "response_format", "'response_format.type' must be \"text\", \"json_object\" or \"json_schema\"");
    return std::nullopt;
  }
  if (schema == nullptr) {
    refuse(fields, "response_format", "'response_format.json_schema' must have a 'schema'");
    return std::nullopt;
  }
  return schema_source(fields, "response_format", *schema);
}

struct Spelling {
  std::string_view name;
  Form form;
  bool is_choice = false;
};
constexpr std::array<Spelling, 4> kStructured = {
    {{"json", Form::kJsonSchema}, {"regex", Form::kRegex}, {"choice", Form::kText, true}, {"grammar", Form::kEbnf}}};
constexpr std::array<Spelling, 6> kTop = {{{"guided_json", Form::kJsonSchema},
                                           {"guided_regex", Form::kRegex},
                                           {"guided_choice", Form::kText, true},
                                           {"guided_grammar", Form::kEbnf},
                                           {"grammar", Form::kEbnf},
                                           {"json_schema", Form::kJsonSchema}}};

std::optional<GrammarSource> read_one(Fields& fields, const Spelling& spelling, const Json& value) {
  if (spelling.is_choice) return choice_source(fields, spelling.name, value);
  if (spelling.form == Form::kJsonSchema) return schema_source(fields, spelling.name, value);
  return text_source(fields, spelling.name, spelling.form, value);
}

/// vLLM's.
void read_structured_outputs(Fields& fields, GrammarFields& result) {
  const Json* outputs = fields.object("structured_outputs");
  if (outputs == nullptr) return;
  Fields inner(*outputs, "structured_outputs.");
  const auto take = [&](std::optional<GrammarSource> source) {
    if (result.source) refuse(fields, "structured_outputs", "'structured_outputs' may have one kind of them only");
    result = {std::move(source), "structured_outputs"};
  };
  for (const Spelling& spelling : kStructured) {
    if (const Json* value = asked(inner, spelling.name)) take(read_one(inner, spelling, *value));
  }
  if (asked(inner, "json_object") != nullptr) take(any_object());
  for (const std::string_view name : {"structural_tag", "whitespace_pattern"}) {
    if (asked(inner, name) == nullptr) continue;
    refuse(inner, name, fmt::format("'{}' is not supported by this server; leave it out", inner.full_name(name)));
  }
  if (inner.error()) fields.fail(*inner.error());
}

Status hold(const ServedModel& model, const GrammarSource& source, const GrammarCompiler::Unwanted& is_unwanted,
            AnswerGrammar& grammar) {
  if (model.grammars == nullptr) {
    return Error(Code::kUnimplemented, "this server was built without grammars (COMMISSURE_GRAMMAR=OFF)");
  }
  grammar.grammar = TRY(model.grammars->compile(source, is_unwanted));
  return {};
}

void tell(Fields& fields, std::string_view name, const Error& error) {
  refuse(fields, name, fmt::format("'{}': {}", name, error.message()));
}

/// The token of a mark, where the tokenizer has one for all of it: a part of it may begin other texts.
std::optional<TokenId> mark_token(const ServedModel& model, std::string_view mark) {
  mark = without_trailing_space(mark);
  if (mark.empty()) return std::nullopt;
  const auto tokens = model.tokenizer->encode(mark, {.add_special = false, .parse_special = true});
  if (tokens.empty()) return std::nullopt;
  const bool is_whole = model.tokenizer->token_bytes(tokens.front(), /*show_control=*/true) == mark;
  return is_whole ? std::optional(tokens.front()) : std::nullopt;
}

/// Where the thought is: before the answer, if there may be one. In channels there is none: marks of the format would
/// have to stand between it and the answer.
void allow_thought(const ServedModel& model, std::string_view prompt, AnswerGrammar& grammar) {
  const AnswerSyntax& syntax = model.answer_syntax;
  if (syntax.think_open.empty() || syntax.has_channels) return;
  grammar.thought_end = std::string(without_trailing_space(syntax.think_close));
  grammar.is_thinking = without_trailing_space(prompt).ends_with(without_trailing_space(syntax.think_open));
  const bool was_thought = without_trailing_space(prompt).ends_with(grammar.thought_end);
  if (!grammar.is_thinking && !was_thought) grammar.thought_begin = mark_token(model, syntax.think_open);
}

/// Arguments are an object, also where the schema leaves it open.
Json arguments_schema(const Json& function) {
  const Json* parameters = find_member(function, "parameters");
  if (parameters == nullptr) return {{"type", "object"}, {"properties", Json::object()}};
  Json schema = *parameters;
  const bool is_open =
      schema.is_object() && std::ranges::none_of(std::array{"type", "$ref", "const", "enum", "anyOf", "oneOf", "allOf"},
                                                 [&](const char* keyword) { return schema.contains(keyword); });
  if (is_open) schema["type"] = "object";
  return schema;
}

bool is_strict(const Json& tool) {
  const Json* strict = find_member(tool["function"], "strict");
  return strict != nullptr && *strict == true;
}

/// Each function that may be called, in the form of the model's calls; none where that form cannot be held. What cannot
/// be enforced is refused where it was promised (`strict`); else the arguments are any object.
///   is_lenient  any object for every function that is not strict
std::optional<GrammarSource> call_source(const ServedModel& model, const ToolFields& tools, bool is_lenient) {
  GrammarSource source;
  SchemaWork work;
  for (const Json& tool : tools.tools) {
    const Json& function = tool["function"];
    const std::string name = function["name"].get<std::string>();
    if (!tools.function.empty() && name != tools.function) continue;
    const auto held = held_call(model.answer_syntax, name, !tools.function.empty());
    if (!held) return std::nullopt;
    Json schema = arguments_schema(function);
    const auto is_refused = [&] {
      return is_lenient || dump_json(schema).size() > kMaxGrammarBytes || !enforceable_schema(schema, work);
    };
    if (!is_strict(tool) && is_refused()) schema = Json{{"type", "object"}};
    source.choices.push_back(
        {{Form::kText, held->before}, {Form::kJsonSchema, dump_json(schema)}, {Form::kText, held->behind}});
  }
  return source;
}

/// Calls to functions, held to their schemas; where one that is not strict cannot be compiled, any object in its place.
void hold_calls(Fields& fields, const ServedModel& model, const GrammarFields& asked, const ToolFields& tools,
                GenerationRequest& request) {
  const auto source = call_source(model, tools, /*is_lenient=*/false);
  if (!source || (model.grammars == nullptr && std::ranges::none_of(tools.tools, is_strict))) return;
  Status held = hold(model, *source, asked.is_unwanted, request.grammar);
  if (!held && held.error().code() != Code::kCancelled) {
    const auto lenient = call_source(model, tools, /*is_lenient=*/true);
    if (lenient && *lenient != *source) held = hold(model, *lenient, asked.is_unwanted, request.grammar);
  }
  if (!held) tell(fields, "tools", held.error());
}

/// `tool_choice` other than "auto", "none" and null; any object may.
bool may_force_call(std::string_view body) {
  constexpr std::string_view kName = "\"tool_choice\"";
  for (std::size_t at = 0; (at = body.find(kName, at)) != std::string_view::npos;) {
    at += kName.size();
    const std::size_t value = body.find_first_not_of(" \t\r\n:", at);
    const std::string_view rest = value == std::string_view::npos ? "" : body.substr(value);
    if (!rest.starts_with("\"auto\"") && !rest.starts_with("\"none\"") && !rest.starts_with("null")) return true;
  }
  return false;
}

/// A letter of ASCII, or an underscore, as \u0041: nobody writes so, but names may be hidden in it.
bool may_spell_letters(std::string_view body) {
  constexpr std::string_view kEscape = "\\u00";
  for (std::size_t at = 0; (at = body.find(kEscape, at)) != std::string_view::npos;) {
    at += kEscape.size();
    if (at < body.size() && body[at] >= '4' && body[at] <= '7') return true;
  }
  return false;
}

}  // namespace

bool may_hold_grammar(std::string_view body) {
  return may_force_call(body) || may_spell_letters(body) ||
         std::ranges::any_of(std::array<std::string_view, 6>{"\"response_format\"", "\"format\"", "\"structured_",
                                                             "\"guided_", "\"grammar\"", "\"json_schema\""},
                             [&](std::string_view name) { return body.find(name) != std::string_view::npos; });
}

GrammarFields read_grammar_fields(Fields& fields, const GrammarCompiler::Unwanted& is_unwanted) {
  GrammarFields result;
  const auto take = [&](std::string_view name, std::optional<GrammarSource> source) {
    if (!source) return;
    if (result.source) {
      return refuse(fields, name,
                    fmt::format("'{}' and '{}' both say what the answer is: leave one out", result.name, name));
    }
    result = {std::move(source), std::string(name)};
  };
  take("response_format", read_response_format(fields));
  GrammarFields structured;
  read_structured_outputs(fields, structured);
  take("structured_outputs", std::move(structured.source));
  for (const Spelling& spelling : kTop) {
    if (const Json* value = asked(fields, spelling.name)) take(spelling.name, read_one(fields, spelling, *value));
  }
  result.is_unwanted = is_unwanted;
  return result;
}

void hold_completion(Fields& fields, const ServedModel& model, const GrammarFields& asked, GenerationRequest& request) {
  if (!asked.source) return;
  if (const Status held = hold(model, *asked.source, asked.is_unwanted, request.grammar); !held) {
    tell(fields, asked.name, held.error());
  }
}

void hold_chat(Fields& fields, const ServedModel& model, const GrammarFields& asked, const ToolFields& tools,
               const AnswerPlan* plan, std::string_view prompt, GenerationRequest& request) {
  if (tools.must_call && asked.source) {
    return refuse(
        fields, asked.name,
        fmt::format("'{}' says what the answer is and 'tool_choice' that it is a call: leave one out", asked.name));
  }
  if (tools.must_call && plan != nullptr && !plan->syntax.calls.empty()) {
    return hold_calls(fields, model, asked, tools, request);
  }
  if (!asked.source) return;
  AnswerGrammar grammar;
  if (const Status held = hold(model, *asked.source, asked.is_unwanted, grammar); !held) {
    return tell(fields, asked.name, held.error());
  }
  allow_thought(model, prompt, grammar);
  if (plan != nullptr && !plan->syntax.has_channels) {
    for (const CallMark& mark : plan->syntax.calls) {
      if (const auto token = mark_token(model, mark.open)) grammar.free_beginnings.push_back(*token);
    }
  }
  request.grammar = std::move(grammar);
}

}  // namespace commissure
