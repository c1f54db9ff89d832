// Sources that are made to cost much: each is refused, for the reason that stands beside it, or can be followed.

#include <gtest/gtest.h>

#include <optional>

#include "core/index.h"
#include "grammar/grammar.h"
#include "support/fake_tokenizer.h"

namespace commissure {
namespace {

using Form = GrammarSource::Form;

std::string repeated(std::string_view text, int n) {
  std::string all;
  for (int i = 0; i < n; ++i) all += text;
  return all;
}

struct Hostile {
  Form form;
  std::string text;
  std::string refused_for;  // empty: it is compiled
};

std::string wide_schema() {
  Json wide = {{"type", "object"}};
  for (int i = 0; i < 1500; ++i) wide["properties"]["p" + std::to_string(i)] = {{"type", "string"}, {"maxLength", 100}};
  return dump_json(wide);
}

std::string doubling_schema() {
  Json doubling = {{"$ref", "#/$defs/d0"}};
  for (int i = 0; i < 30; ++i) {
    const Json next = {{"$ref", "#/$defs/d" + std::to_string(i + 1)}};
    doubling["$defs"]["d" + std::to_string(i)] = {{"type", "array"}, {"prefixItems", Json::array({next, next})}};
  }
  doubling["$defs"]["d30"] = {{"type", "null"}};
  return dump_json(doubling);
}

/// Numbers whose remainders and multiples would each be states.
std::string numbers_schema() {
  Json numbers = {{"type", "object"}};
  for (int i = 0; i < 1000; ++i)
    numbers["properties"]["p" + std::to_string(i)] = {{"type", "integer"}, {"multipleOf", 1024}};
  return dump_json(numbers);
}

/// Multiples that would each be written out.
std::string ranges_schema() {
  Json ranges = {{"type", "object"}};
  for (int i = 0; i < 1000; ++i) {
    ranges["properties"]["p" + std::to_string(i)] = {
        {"type", "integer"}, {"multipleOf", 1}, {"exclusiveMinimum", i}, {"exclusiveMaximum", i + 9999}};
  }
  return dump_json(ranges);
}

std::string patterns_schema() {
  Json patterns = {{"type", "object"}};
  for (int i = 0; i < 4; ++i) patterns["properties"]["p" + std::to_string(i)] = {{"pattern", "^.{1,990}$"}};
  return dump_json(patterns);
}

std::vector<Hostile> sources() {
  return {
      {Form::kRegex, "(a{1000}){1000}", "unfolds"},
      {Form::kRegex, "((((a{30}){30}){30}){30})", "unfolds"},
      {Form::kRegex, "(){4294967297}", "unfolds"},
      {Form::kRegex, "(a|b)*a" + repeated("(a|b)", 24), ""},
      {Form::kRegex, repeated("(", 4000) + "a" + repeated(")", 4000), "nests"},
      {Form::kRegex, "a" + repeated("*", 8000), "nests"},
      {Form::kRegex, repeated("(a*)*", 1000), ""},
      {Form::kRegex, repeated("a?", 1000) + repeated("a", 1000), ""},
      {Form::kRegex, "[" + repeated("\\w", 3000) + "]*", ""},
      {Form::kEbnf, "root ::= root root | \"a\" | \"\"", ""},
      {Form::kEbnf, "root ::= root root | \"a\"", ""},
      {Form::kEbnf, "root ::= (\"a\"{0,200}){0,200}", ""},
      {Form::kEbnf, "root ::= root", "no text"},
      {Form::kEbnf, "root ::= " + repeated("(", 3000) + "\"a\"" + repeated(")", 3000), "nests"},
      {Form::kEbnf, "root ::= \"a\"" + repeated(" *", 3000), "nests"},
      {Form::kEbnf, repeated("a", 200'000), "bytes"},
      {Form::kEbnf, "root ::= \"a\" | Token (5)", "macro"},
      {Form::kJsonSchema, wide_schema(), ""},
      {Form::kJsonSchema, doubling_schema(), ""},
      {Form::kJsonSchema, numbers_schema(), "parts"},
      {Form::kJsonSchema, ranges_schema(), "parts"},
      {Form::kJsonSchema, patterns_schema(), ""},
      {Form::kJsonSchema, R"({"type":"string","minLength":90000,"maxLength":100000})", ""},
      {Form::kJsonSchema, R"({"type":"array","minItems":90000,"maxItems":100000})", ""},
      {Form::kJsonSchema, R"({"type":"string","pattern":"(x+x+)+y"})", ""},
      {Form::kJsonSchema, R"({"type":"string","pattern":"(a|b)*a)" + repeated("(a|b)", 24) + "\"}", ""},
      {Form::kJsonSchema, R"({"type":"string","pattern":"a{50000}"})", "unfolds"},
      {Form::kJsonSchema, R"({"type":"string","pattern":"^.{1,60000}$"})", "unfolds"},
      {Form::kJsonSchema,
       dump_json({{"patternProperties", {{repeated("(", 60'000) + repeated(")", 60'000), Json::object()}}}}), "bytes"},
      {Form::kJsonSchema,
       dump_json({{"patternProperties", {{repeated("(", 3000) + repeated(")", 3000), Json::object()}}}}), "nests"},
      {Form::kJsonSchema, R"({"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]})", ""},
      {Form::kJsonSchema, repeated("[", 5000), "JSON"},
  };
}

TEST(HostileGrammar, IsRefusedOrCanBeFollowed) {
  for (const auto& [form, text, refused_for] : sources()) {
    const std::string name = text.substr(0, 60);
    const auto compiler =
        GrammarCompiler::create(std::make_shared<FakeTokenizer>(), 320, {TokenId(FakeTokenizer::kEos)},
                                {.seconds = [] { return 0.0; }});  // slow machines are none of this test's business
    const auto made = compiler->compile(GrammarSource::of(form, text));
    EXPECT_EQ(made.has_value(), refused_for.empty()) << name << ": " << (made ? "made" : made.error().message());
    if (!made) {
      EXPECT_NE(made.error().message().find(refused_for), std::string::npos) << name << made.error().message();
      continue;
    }
    EXPECT_LE((*made)->n_bytes(), std::size_t{64} << 20) << name;
    const auto matcher = (*made)->match();
    for (int i = 0; i < 4; ++i) {  // an answer's account ends what becomes slow
      const auto mask = matcher->mask();
      ASSERT_TRUE(mask.has_value()) << name << ": " << mask.error().message();
      std::optional<TokenId> next;
      mask->each([&](TokenId token) {
        if (!next || token.value < FakeTokenizer::kEos) next = token;
      });
      if (next->value >= FakeTokenizer::kEos) break;
      ASSERT_TRUE(matcher->accept(*next).has_value()) << name;
    }
  }
}

}  // namespace
}  // namespace commissure
