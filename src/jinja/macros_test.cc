// What Jinja2 3.1.6 gives for the same templates.
#include <gtest/gtest.h>

#include "jinja/chat_template.h"

namespace commissure {
namespace {

/// The output, or "!" and the message without its line.
std::string render(std::string_view source, const jinja::Limits& limits = {}) {
  const auto compiled = ChatTemplate::compile(source);
  if (!compiled) return "!" + compiled.error().message();
  const auto text = (*compiled)->render(Json::object(), limits);
  if (text) return *text;
  const std::string& message = text.error().message();
  const std::string head = "chat template: line 1: ";
  return "!" + (message.starts_with(head) ? message.substr(head.size()) : message);
}

TEST(JinjaMacro, TakesArgumentsByPlaceNameAndDefault) {
  EXPECT_EQ(render("{% macro f(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ f(1) }}{{ f(1, 2) }}{{ f(b=3, a=4) }}"),
            "111243")
      << "a default may name a parameter before it";
  EXPECT_EQ(render("{% macro f(a, b) %}{{ a }}{{ b is undefined }}{% endmacro %}{{ f(1) }}"), "1True");
  EXPECT_EQ(render("{% macro f(a) %}{{ a }}{% endmacro %}{{ f(*[1]) }}{{ f(**{'a': 2}) }}"), "12");
}

TEST(JinjaMacro, CatchesTheRestWhereItsBodyNamesIt) {
  EXPECT_EQ(render("{% macro f(a) %}[{{ a }}|{{ varargs }}|{{ kwargs }}]{% endmacro %}{{ f(1, 2, 3, k=4) }}{{ f() }}"),
            "[1|(2, 3)|{'k': 4}][|()|{}]");
  EXPECT_EQ(render("{% macro f(a) %}{% endmacro %}{{ f(1, 2) }}"), "!macro 'f' takes not more than 1 argument(s)");
  EXPECT_EQ(render("{% macro f(a) %}{% endmacro %}{{ f(b=2) }}"), "!macro 'f' takes no keyword argument 'b'");
  EXPECT_EQ(render("{% macro f(a) %}{% endmacro %}{{ f(1, a=2) }}"), "!macro 'f' got multiple values for argument 'a'");
}

TEST(JinjaMacro, CallsTheBlockThatCalledIt) {
  EXPECT_EQ(render("{% macro f() %}<{{ caller() }}>{% endmacro %}{% call f() %}x{% endcall %}"), "<x>");
  EXPECT_EQ(
      render("{% macro f() %}<{{ caller(1, 2) }}>{% endmacro %}{% call(a, b=9) f() %}{{ a }}{{ b }}{% endcall %}"),
      "<12>");
  EXPECT_EQ(render("{% macro f() %}{% endmacro %}{% call f() %}x{% endcall %}").substr(0, 1), "!")
      << "one that has no use for a caller";
}

TEST(JinjaMacro, SeesTheNamesAroundItAndChangesNone) {
  EXPECT_EQ(render("{% macro f() %}{{ x }}{% endmacro %}{% set x = 5 %}{{ f() }}"), "5") << "as they are at the call";
  EXPECT_EQ(render("{% set x = 1 %}{% macro f() %}{% set x = 2 %}{{ x }}{% endmacro %}{{ f() }}{{ x }}"), "21");
  EXPECT_EQ(render("{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}"), "3210");
  EXPECT_EQ(render("{% for i in [1, 2] %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}"), "12");
}

TEST(JinjaMacro, LeavesTheRenderAsItWasWhenItFails) {
  EXPECT_EQ(render("{% macro f() %}lost{{ nope.x }}{% endmacro %}{{ f() }}"), "!'nope' is undefined");
  EXPECT_EQ(render("{% macro f() %}{{ raise_exception('no') }}{% endmacro %}{{ f() }}"), "!chat template: no");
}

TEST(JinjaMacro, IsBoundedInDepth) {
  const std::string deep = "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{% endif %}{% endmacro %}";
  EXPECT_EQ(render(deep + "{{ f(20) }}"), "");
  EXPECT_EQ(render(deep + "{{ f(20) }}", {.depth = 30}), "!the template nests calls or values too deeply");
}

TEST(JinjaLoop, CallsItselfWhereItIsMarked) {
  EXPECT_EQ(render("{% for x in [{'c':[{'c':[]}]}] recursive %}{{ loop.depth }}{{ loop(x.c) }}{% endfor %}"), "12");
  EXPECT_EQ(render("{% for a in [1] %}{{ loop(a) }}{% endfor %}"),
            "!The loop must have the 'recursive' marker to be called recursively.");
  EXPECT_EQ(render("{% for a in [1] recursive %}{{ loop() }}{% endfor %}"), "!loop() takes one argument");
}

TEST(JinjaLoop, LeavesNoNameBehind) {
  EXPECT_EQ(render("{% set x = 0 %}{% for x in [1, 2] %}{% set y = x %}{% endfor %}{{ x }}{{ y is defined }}"),
            "0False");
  EXPECT_EQ(
      render("{% for x in [1, 2, 3] %}{% if x == 2 %}{% break %}{% endif %}{{ x }}{% endfor %}{{ x is defined }}"),
      "1False");
  EXPECT_EQ(render("{% for x in [] %}a{% else %}{{ x is defined }}{% endfor %}"), "False");
}

TEST(JinjaSet, UnpacksAsManyAsThereAre) {
  EXPECT_EQ(render("{% set a, b = [1, 2] %}{{ a }}{{ b }}"), "12");
  EXPECT_EQ(render("{% set a, b = [1] %}"), "!not enough values to unpack (expected 2, got 1)");
  EXPECT_EQ(render("{% set a, b = [1, 2, 3] %}"), "!too many values to unpack (expected 2)");
  EXPECT_EQ(render("{% set x = {} %}{% set x.a = 1 %}"), "!cannot assign attribute on non-namespace object");
}

}  // namespace
}  // namespace commissure
