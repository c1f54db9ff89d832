// Calls as models get them wrong: what is sure is read, what is broken never counts as whole, and no text is lost.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/answer_testing.h"

namespace commissure {
namespace {

using testing::parts;
using testing::plan_for;

std::string hermes(std::string_view call) { return "<tool_call>" + std::string(call) + "</tool_call>"; }

bool is_whole(const std::shared_ptr<AnswerPlan>& plan, std::string_view text) {
  AnswerParser parser(plan);
  parser.push(text);
  parser.finish();
  return parser.has_whole_calls();
}

TEST(BrokenCall, ArgumentsThatAreNoJsonEndNoCall) {
  for (const std::string arguments :
       {"{\"x\": 'y'}", "{\"a\": ]", "{\"a\": 1,}", "{\"a\": \"\\q\"}", "{a: 1}", "5", "True"}) {
    EXPECT_FALSE(is_whole(plan_for("hermes"), hermes("{\"name\": \"a\", \"arguments\": " + arguments + "}")))
        << arguments;
    EXPECT_FALSE(is_whole(plan_for("llama3_json"), "{\"name\": \"a\", \"parameters\": " + arguments + "}"))
        << arguments;
    EXPECT_FALSE(is_whole(plan_for("mistral"), "[TOOL_CALLS][{\"name\": \"a\", \"arguments\": " + arguments + "}]"))
        << arguments;
  }
  EXPECT_FALSE(is_whole(plan_for("mistral"), "[TOOL_CALLS]a[ARGS]{\"x\": 'y'}"));
  EXPECT_EQ(parts(plan_for("hermes"), hermes(R"({"name": "a", "arguments": {"x": 1 2}})") + "ok"),
            R"([][ok] a({"x": 1 ))");
}

TEST(BrokenCall, WhatLeavesNoDoubtIsPutRight) {
  const std::string call = hermes("{\"name\": \"a\", \"arguments\": {\"x\": \"1\n2\", \"y\": True, \"z\": None}}");
  EXPECT_EQ(parts(plan_for("hermes"), call), R"([][] a({"x": "1\n2", "y": true, "z": null}))");
  EXPECT_TRUE(is_whole(plan_for("hermes"), call));
  EXPECT_EQ(parts(plan_for("gemma4"), "<|tool_call>call:a{x:True,y:\"1\n2\"}<tool_call|>"),
            R"([][] a({"x":true,"y":"1\n2"}))");
}

TEST(BrokenCall, ArgumentsInATextAreJsonOrNone) {
  const auto plan = plan_for("hermes");
  for (const std::string text : {R"("x\q")", R"("hello")", R"("{\"n\": ")", R"("\"x\"")", R"("3")"}) {
    const std::string call = hermes("{\"name\": \"a\", \"arguments\": " + text + "}");
    EXPECT_EQ(parts(plan, call), "[][] a()") << text;
    EXPECT_FALSE(is_whole(plan, call)) << text;
  }
  for (const std::string text : {R"("")", R"("  ")", R"("null")", "null", R"("{}")"}) {
    const std::string call = hermes("{\"name\": \"a\", \"arguments\": " + text + "}");
    EXPECT_EQ(parts(plan, call), "[][] a({})") << text;
    EXPECT_TRUE(is_whole(plan, call)) << text;
  }
  EXPECT_EQ(parts(plan, hermes(R"({"name": "a", "arguments": "{\"n\": True}"})")), R"([][] a({"n": true}))");
}

TEST(BrokenCall, AMarkThatTheTextNamesHidesNoCallBehindIt) {
  EXPECT_EQ(
      parts(plan_for("hermes"), R"(<tool_call> begins it. Now: <tool_call>{"name": "a", "arguments": {}}</tool_call>)"),
      "[][<tool_call> begins it. Now:] a({})");
  EXPECT_EQ(parts(plan_for("hermes"), R"(<tool_call><tool_call>{"name": "a"}</tool_call>)"), "[][<tool_call>] a({})");
  EXPECT_EQ(parts(plan_for("hermes"), R"(<tool_call>{"<tool_call>{"name": "a"}</tool_call>)"),
            "[][<tool_call>{\"] a({})");
  EXPECT_EQ(
      parts(plan_for("hermes"),
            R"(<tool_call>{"name": "a", "arguments": {x}<tool_call> it is. <tool_call>{"name": "b"}</tool_call>)"),
      "[][x}<tool_call> it is.] a({) b({})");
  EXPECT_EQ(
      parts(plan_for("qwen3_xml"), "<tool_call> or <tool_call><b> or <tool_call><function=a></function></tool_call>"),
      "[][<tool_call> or <tool_call><b> or] a({})");
  EXPECT_EQ(parts(plan_for("mistral"), "[TOOL_CALLS] marks [TOOL_CALLS][TOOL_CALLS]a[ARGS]{}"),
            "[][[TOOL_CALLS] marks [TOOL_CALLS]] a({})");
  EXPECT_EQ(parts(plan_for("gemma4"), "<|tool_call> and <|tool_call>call:<|tool_call>call:a{}<tool_call|>"),
            "[][<|tool_call> and <|tool_call>call:] a({})");
}

TEST(BrokenCall, AMarkThatTheTextNamesHoldsNothingBack) {
  for (const auto& [name, mark] : {std::pair("hermes", "<tool_call>"), std::pair("qwen3_xml", "<tool_call>"),
                                   std::pair("qwen3_xml", "<function="), std::pair("mistral", "[TOOL_CALLS]"),
                                   std::pair("llama3_json", "<|python_tag|>"), std::pair("gemma4", "<|tool_call>")}) {
    AnswerParser parser(plan_for(name));
    const std::string text = std::string(mark) + " begins a call. (It is a mark.)";
    EXPECT_EQ(parser.push(text).content, text) << name;
  }
}

TEST(BrokenCall, WhatIsReadAgainIsShort) {
  const auto text = [](std::size_t n) {
    return "<tool_call>{\"id\": \"" + std::string(n, 'x') + R"(<tool_call>{"name": "a"}</tool_call>", 3})";
  };
  EXPECT_EQ(parts(plan_for("hermes"), text(2000)), "[][" + text(2000) + "]");
  EXPECT_EQ(parts(plan_for("hermes"), text(20)), "[][<tool_call>{\"id\": \"" + std::string(20, 'x') + "\", 3}] a({})");
}

TEST(BrokenCall, AnXmlValueEndsWhereTheNextThingBegins) {
  const auto plan = plan_for("qwen3_xml");
  EXPECT_EQ(parts(plan, "<tool_call><function=a><parameter=city>Rome</function></tool_call>\nI will tell you soon."),
            R"([][I will tell you soon.] a({"city": "Rome"}))");
  EXPECT_EQ(
      parts(plan, "<tool_call><function=a>\n<parameter=x>\n1\n<parameter=y>\n2\n</parameter></function></tool_call>ok"),
      R"([][ok] a({"x": "1", "y": "2"}))");
  EXPECT_EQ(parts(plan, "<tool_call><function=a><parameter=x>1</tool_call>ok"), R"([][ok] a({"x": "1"}))");
  EXPECT_EQ(parts(plan, "<tool_call><function=a>x</function></tool_call>ok <tool_call><function=b></tool_call>"),
            "[][ok] a({) b({})");
}

TEST(BrokenCall, XmlValuesAreWhatTheirSchemasTake) {
  const auto call = [](std::string_view parameter, std::string_view value) {
    return parts(
        plan_for("qwen3_xml"),
        fmt::format("<tool_call><function=find><parameter={}>{}</parameter></function></tool_call>", parameter, value));
  };
  EXPECT_EQ(call("maybe", "42"), R"([][] find({"maybe": "42"}))");
  EXPECT_EQ(call("maybe", "null"), R"([][] find({"maybe": null}))");
  EXPECT_EQ(call("flag", "True"), R"([][] find({"flag": true}))");
  EXPECT_EQ(call("flag", "FALSE"), R"([][] find({"flag": false}))");
  EXPECT_EQ(call("n", "None"), R"([][] find({"n": null}))");
  EXPECT_EQ(call("list", "['a', True, {'b': \"c\"}]"), R"([][] find({"list": ["a", true, {"b": "c"}]}))");
  EXPECT_EQ(call("list", "['a', b]"), R"([][] find({"list": "['a', b]"}))");
}

TEST(BrokenCall, QwenCoderForgetsTheFirstMark) {
  const auto plan = plan_for("qwen3_xml");
  EXPECT_EQ(parts(plan, "I look.\n<function=find>\n<parameter=n>\n1\n</parameter>\n</function>\n</tool_call>"),
            R"([][I look.] find({"n": 1}))");
  EXPECT_EQ(parts(plan, "<function=a></function><function=b></function> ok"), "[][ok] a({}) b({})");
  EXPECT_EQ(parts(plan, "<function=nobody></function> ok"), "[][<function=nobody></function> ok]");
}

TEST(BrokenCall, GemmasClosingMarkIsSeenBehindAnEmptyValue) {
  EXPECT_EQ(parts(plan_for("gemma4"), "<|tool_call>call:a{n:<tool_call|>Done"), "[][Done] a({\"n\":)");
  EXPECT_EQ(parts(plan_for("gemma4"), "<|tool_call>call:a{n:1,l:[<tool_call|>Done"), "[][Done] a({\"n\":1,\"l\":[)");
}

TEST(BrokenCall, GemmasOpeningMarkEndsWhatWasNotClosed) {
  EXPECT_EQ(parts(plan_for("gemma4"), "<|tool_call>call:a{x:1<|tool_call>call:b{}<tool_call|>ok"),
            "[][ok] a({\"x\":) b({})");
  EXPECT_EQ(parts(plan_for("gemma4"), "<|tool_call>call:a{x:<|\"|>1<|tool_call>2<|\"|>}<tool_call|>"),
            R"([][] a({"x":"1<|tool_call>2"}))");
}

TEST(BrokenCall, OneBrokenCallIsEnough) {
  const auto plan = plan_for("hermes");
  const std::string broken = hermes(R"({"name": "a", "arguments": {x}})"), good = hermes(R"({"name": "b"})");
  EXPECT_FALSE(is_whole(plan, broken + good));
  EXPECT_FALSE(is_whole(plan, good + broken));
  EXPECT_TRUE(is_whole(plan, good + good));
  plan->is_one_call = true;
  EXPECT_TRUE(is_whole(plan, good + broken)) << "it is left out";
  EXPECT_FALSE(is_whole(plan, broken + good));
}

TEST(BrokenCall, BracketsTooManyAreNoText) {
  EXPECT_EQ(parts(plan_for("hermes"), "<tool_call>{\"name\": \"a\", \"arguments\": {}}}}\n</tool_call>ok"),
            "[][ok] a({})");
  EXPECT_EQ(parts(plan_for("gemma4"), "<|tool_call>call:a{}}<tool_call|>ok"), "[][ok] a({})");
  EXPECT_EQ(parts(plan_for("mistral"), R"([TOOL_CALLS][{"name": "a", "arguments": {}}}]])"), "[][] a({})");
  EXPECT_EQ(parts(plan_for("mistral"), "[TOOL_CALLS]a[ARGS]{}}ok"), "[][ok] a({})");
  EXPECT_EQ(parts(plan_for("llama3_json"), R"({"name": "a", "parameters": {}}})"), "[][] a({})");
  EXPECT_EQ(parts(plan_for("qwen3_xml"), "<tool_call><function=a></function></function>}</tool_call>ok"),
            "[][ok] a({})");
}

TEST(BrokenCall, TheMarkThatClosesItIsNoTextWhereverItStands) {
  EXPECT_EQ(parts(plan_for("hermes"), R"(<tool_call>{"name": "a"} so </tool_call> and </tool_call>)"),
            "[][so  and </tool_call>] a({})");
  EXPECT_EQ(parts(plan_for("gemma4"), "<|tool_call>call:a{};<tool_call|>ok"), "[][;ok] a({})");
  EXPECT_EQ(parts(plan_for("hermes"), hermes(R"({"name": "a"})") + "x</tool_call>"), "[][x</tool_call>] a({})");
}

TEST(BrokenCall, AFunctionThatIsUnknownHidesNoOther) {
  EXPECT_EQ(
      parts(plan_for("mistral"),
            R"([TOOL_CALLS][{"name": "no", "arguments": {"x": [1]}}, {"name": "a", "arguments": {}}, {"name": "no"}])"),
      R"([][{"name": "no", "arguments": {"x": [1]}}{"name": "no"}] a({}))");
  EXPECT_EQ(parts(plan_for("hermes"), hermes("{\"name\": \"no\"}\n{\"name\": \"a\"}")), "[][{\"name\": \"no\"}] a({})");
  EXPECT_EQ(parts(plan_for("hermes"), hermes("{\"name\": \"a\"}\n{\"name\": \"no\"}\n{\"name\": \"b\"}")),
            "[][{\"name\": \"no\"}] a({}) b({})");
  EXPECT_EQ(parts(plan_for("qwen3_xml"),
                  "<tool_call><function=no></function><function=a></function><function=no></function><function=b></"
                  "function></tool_call>"),
            "[][<tool_call><function=no></function><function=no></function>] a({}) b({})");
  EXPECT_EQ(parts(plan_for("llama3_json"), R"({"name": "a", "parameters": {}}; {"name": "no", "parameters": {}})"),
            R"([][{"name": "no", "parameters": {}}] a({}))");
  EXPECT_EQ(parts(plan_for("mistral"), R"([TOOL_CALLS][{"name": "no"}, {"name": 1}] x)"),
            R"([][[TOOL_CALLS][{"name": "no"}, {"name": 1}] x])");
}

TEST(BrokenCall, TextBehindOneThatNothingClosesStays) {
  EXPECT_EQ(parts(plan_for("hermes"), R"(<tool_call>{"name": "a", "arguments": {x}} A long answer.)"),
            "[][x}} A long answer.] a({)");
  EXPECT_EQ(parts(plan_for("gemma4"), "<|tool_call>call:a{x:[1]2} A long answer."),
            "[][2} A long answer.] a({\"x\":[1])");
  EXPECT_EQ(parts(plan_for("qwen3_xml"), "<function=a>x</function> A long answer."), "[][A long answer.] a({)");
  EXPECT_EQ(parts(plan_for("qwen3_xml"), "<tool_call><function=a>x A long answer."), "[][x A long answer.] a({)");
  EXPECT_EQ(parts(plan_for("qwen3_xml"), "<function=a><parameter=k\nA long answer."), "[][k\nA long answer.] a({)");
}

TEST(BrokenCall, WhatWasBegunBehindACallStaysTextWhereTheAnswerEnds) {
  EXPECT_EQ(parts(plan_for("hermes"), R"(<tool_call>{"name": "a"}<)"), "[][<] a({})");
  EXPECT_EQ(parts(plan_for("hermes"), "<tool_call>{\"name\": \"a\"}\n{\"id\": \"no call"),
            "[][{\"id\": \"no call] a({})");
  EXPECT_EQ(parts(plan_for("gemma4"), "<|tool_call>call:a{}<"), "[][<] a({})");
  EXPECT_EQ(parts(plan_for("qwen3_xml"), "<tool_call><function=a></function> <fun"), "[][<fun] a({})");
  EXPECT_EQ(parts(plan_for("qwen3_xml"), "<tool_call><function=a></function><function=b"), "[][<function=b] a({})");
}

TEST(BrokenCall, MarksThatAreControlTokensAreNoTextOfUnknownCalls) {
  const auto plan = plan_for("mistral");
  plan->control_marks = {"[TOOL_CALLS]", "[ARGS]"};
  EXPECT_EQ(parts(plan, R"([TOOL_CALLS][{"name": "no", "arguments": {"x": "[ARGS]"}}, {"name": "a"}])"),
            R"([][{"name": "no", "arguments": {"x": ""}}] a({}))");
}

TEST(BrokenCall, WhatThePromptBeganIsNoTextOfAnUnknownCall) {
  const auto plan = plan_for("hermes");
  plan->prefix = "<tool_call>\n{\"name\": \"";
  EXPECT_EQ(parts(plan, "no\"}\n{\"name\": \"a\"}</tool_call>"), "[][no\"}] a({})");
}

TEST(BrokenCall, WhatSeparatesCallsIsTextWhereNoneFollows) {
  EXPECT_EQ(parts(plan_for("llama3_json"), R"({"name": "a", "parameters": {}}, I said)"), "[][, I said] a({})");
  EXPECT_EQ(parts(plan_for("llama3_json"), R"({"name": "a", "parameters": {}};)"), "[][;] a({})");
}

}  // namespace
}  // namespace commissure
