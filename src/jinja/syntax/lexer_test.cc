#include "jinja/syntax/lexer.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "jinja/syntax/syntax.h"

namespace commissure::jinja {
namespace {

/// The tokens, a word each: `data:x`, `block`, `end`, names and operators as they are, texts in quotes.
std::string shown(std::string_view source) {
  const auto tokens = read_tokens(source);
  if (!tokens) return tokens.error().message();
  std::string out;
  for (const Token& token : *tokens) {
    if (!out.empty()) out += ' ';
    switch (token.kind) {
      case TokenKind::kData: out += "data:" + token.text; break;
      case TokenKind::kBlockBegin: out += "{%"; break;
      case TokenKind::kBlockEnd: out += "%}"; break;
      case TokenKind::kVariableBegin: out += "{{"; break;
      case TokenKind::kVariableEnd: out += "}}"; break;
      case TokenKind::kText: out += "'" + token.text + "'"; break;
      case TokenKind::kFloat: out += "f" + token.text; break;
      case TokenKind::kInteger: out += "i" + token.text; break;
      case TokenKind::kEnd: out += "."; break;
      default: out += token.text;
    }
  }
  return out;
}

/// The value of the one text in `{{ "..." }}`.
std::string text_of(const std::string& inside) {
  const auto tokens = read_tokens("{{ \"" + inside + "\" }}");
  return tokens ? (*tokens)[1].text : tokens.error().message();
}

TEST(JinjaLexer, KnowsTagsFromText) {
  EXPECT_EQ(shown(""), ".");
  EXPECT_EQ(shown("a {b} %} }} { {"), "data:a {b} %} }} { { .");
  EXPECT_EQ(shown("a{{ b }}c{% if d %}e"), "data:a {{ b }} data:c {% if d %} data:e .");
  EXPECT_EQ(shown("a{# {{ b }} {% c %} #}d"), "data:a data:d .");
}

TEST(JinjaLexer, TakesTheNewlinesThatTransformersTakes) {
  EXPECT_EQ(shown("{% if a %}\nb\n"), "{% if a %} data:b .") << "one behind a block, and the last one";
  EXPECT_EQ(shown("{{ a }}\nb"), "{{ a }} data:\nb .") << "a print statement keeps it";
  EXPECT_EQ(shown("x\n  {% if a %}"), "data:x\n {% if a %} .") << "blanks before a block that begins its line";
  EXPECT_EQ(shown("x  {% if a %}"), "data:x   {% if a %} .");
  EXPECT_EQ(shown("x  {{ a }}"), "data:x   {{ a }} .");
  EXPECT_EQ(shown("  {%+ if a +%}\nb"), "data:   {% if a %} data:\nb .") << "unless a plus keeps them";
  EXPECT_EQ(shown("x \n {%- if a -%} \n b"), "data:x {% if a %} data:b .");
  EXPECT_EQ(shown("a\r\nb\rc"), "data:a\nb\nc .");
}

TEST(JinjaLexer, LeavesRawTextAlone) {
  EXPECT_EQ(shown("{% raw %}{{ a }}{% b {% endraw %}c"), "data:{{ a }}{% b  data:c .");
  EXPECT_EQ(shown("{%- raw -%} x {%- endraw -%} y"), "data:x data:y .");
  EXPECT_EQ(shown("a\n{% raw %}b"), "line 2: missing end of raw directive");
}

TEST(JinjaLexer, ReadsNumbersAsPythonDoes) {
  EXPECT_EQ(shown("{{ 1 1_000 1.5 1e3 2.5E-7 0x1F 0b10 0o17 }}"),
            "{{ i1 i1000 f1.5 f1e3 f2.5E-7 i0x1F i0b10 i0o17 }} .");
  EXPECT_EQ(shown("{{ 1.a a.0.1 1..2 1e }}"), "{{ i1 . a a . i0 . i1 i1 . . i2 i1 e }} .");
}

TEST(JinjaLexer, ReadsEscapesAsPythonDoes) {
  EXPECT_EQ(text_of(R"(a\n\t\\\"\'\a)"), "a\n\t\\\"'\a");
  EXPECT_EQ(text_of(R"(\x41\101\u00e9\U0001F600)"), "AA\u00e9\U0001f600");
  EXPECT_EQ(text_of(R"(\q\ )"), R"(\q\ )") << "what is no escape stays";
  EXPECT_EQ(text_of("a\\\nb"), "ab") << "a line that is continued";
  EXPECT_EQ(text_of(R"(\x4)"), "line 1: truncated \\x escape in a text");
  EXPECT_EQ(text_of(R"(\ud800)"), "line 1: illegal Unicode character in a text");
  EXPECT_EQ(text_of(R"(\U00110000)"), "line 1: illegal Unicode character in a text");
}

TEST(JinjaLexer, NamesTheLineOfWhatIsWrong) {
  EXPECT_EQ(shown("a\n\n{{ $ }}"), "line 3: unexpected char '$'");
  EXPECT_EQ(shown("{{ a ]"), "line 1: unexpected ']'");
  EXPECT_EQ(shown("{{\n(a ]"), "line 2: unexpected ']', a '(' is open");
  EXPECT_EQ(shown("\n{{ 'a\n"), "line 2: unexpected char \"'\": the text has no end");
  EXPECT_EQ(shown("{# a"), "line 1: missing end of comment tag");
  EXPECT_EQ(shown("{% if a"), "line 1: unexpected end of template, expected end of statement block");
  EXPECT_EQ(shown("{{ a\n\n"), "line 2: unexpected end of template, expected end of print statement");
}

TEST(JinjaLexer, ATagIsNotEndedInsideBrackets) {
  EXPECT_EQ(shown("{{ {'a': {'b': 1}} }}"), "{{ { 'a' : { 'b' : i1 } } }} .");
  EXPECT_EQ(shown("{{ '}}' }}"), "{{ '}}' }} .");
}

/// What the parser says of a template; "" when it reads it.
std::string problem_of(std::string_view source) {
  const auto syntax = parse(source);
  return syntax ? "" : syntax.error().message();
}

TEST(JinjaParser, NamesTheLineAndWhatItWanted) {
  EXPECT_EQ(problem_of("{% for a in b %}{% endfor %}{% macro m(a, b=1) %}{% endmacro %}"), "");
  for (const auto& [source, line] : std::initializer_list<std::pair<const char*, const char*>>{
           {"\n{% if %}", "line 2: "},
           {"{% if a %}\n{% else %}", "line 2: "},
           {"\n\n{% endif %}", "line 3: "},
           {"{{ a b }}", "line 1: "},
           {"{{ a.1.b.'c' }}", "line 1: "},
           {"{{ f(a=1, 2) }}", "line 1: invalid syntax for function call expression"},
           {"{{ a is b is c }}", "line 1: "},
           {"{{ a[1:2, 3] }}", "line 1: a slice stands alone"},
           {"{{ a[] }}", "line 1: expected subscript expression"},
           {"{{ 99999999999999999999 }}", "line 1: the integer is too large"},
           {"{% set a.b.c = 1 %}", "line 1: "},
           {"{% frobnicate %}", "line 1: "}}) {
    const std::string problem = problem_of(source);
    EXPECT_TRUE(problem.starts_with(line)) << source << ": " << problem;
    EXPECT_GT(problem.size(), 8u) << source;
  }
}

TEST(JinjaParser, ReadsConstants) {
  std::vector<std::unique_ptr<Syntax>> trees;  // they hold what text constants show
  const auto constant = [&](std::string_view expression) {
    trees.push_back(parse("{{ " + std::string(expression) + " }}").value());
    return trees.back()->body.at(0)->left->constant;
  };
  EXPECT_EQ(constant("0x1f").as_integer(), 31);
  EXPECT_EQ(constant("0b101").as_integer(), 5);
  EXPECT_EQ(constant("0o17").as_integer(), 15);
  EXPECT_EQ(constant("9223372036854775807").as_integer(), INT64_MAX);
  EXPECT_EQ(constant("1.5e3").number, 1500);
  EXPECT_EQ(constant("1e999").number, std::numeric_limits<double>::infinity());
  EXPECT_EQ(constant("1e-999").number, 0);
  EXPECT_EQ(constant("'a' \"b\" 'c'").view(), "abc") << "texts side by side are one";
  EXPECT_TRUE(constant("True").boolean);
  EXPECT_FALSE(constant("false").boolean);
  EXPECT_EQ(constant("None").kind, Kind::kNone);
}

}  // namespace
}  // namespace commissure::jinja
