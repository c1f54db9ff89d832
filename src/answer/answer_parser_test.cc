#include "answer/answer_parser.h"

#include <gtest/gtest.h>

#include <random>

#include "support/answer_testing.h"

namespace commissure {
namespace {

using testing::parse;
using testing::parts;
using testing::plan_for;
using testing::shown;

TEST(AnswerParser, ThoughtsComeBeforeTheText) {
  const auto plan = plan_for("none");
  EXPECT_EQ(parts(plan, "<think>\nWell, 2 < 3.\n\n</think>\n\nYes, it is. "), "[Well, 2 < 3.][Yes, it is. ]");
  EXPECT_EQ(parts(plan, "  <think></think>A"), "[][A]");
  EXPECT_EQ(parts(plan, "<think>x</think>\n\n"), "[x][]");
  EXPECT_EQ(parts(plan, "The mark <think> begins a thought, </think> ends it."),
            "[][The mark <think> begins a thought, </think> ends it.]");
  EXPECT_EQ(parts(plan, "<think>cut off </th"), "[cut off </th][]");
  EXPECT_EQ(parts(plan, " plain\n"), "[][ plain\n]");
  plan->prefix = "<think>\n";
  EXPECT_EQ(parts(plan, "Hm.\n</think>\nYes"), "[Hm.][Yes]");
  plan->hides_reasoning = true;
  EXPECT_EQ(parts(plan, "Hm.\n</think>\nYes"), "[][Yes]");
}

TEST(AnswerParser, NoMarkIsLookedForInATextThatIsHeld) {
  const auto plan = plan_for("hermes");
  plan->is_held = true;
  const std::string call = "<tool_call><function=now></function></tool_call>", text = "{\"t\":\"" + call + "<think>\"}";
  EXPECT_EQ(parts(plan, text), "[][" + text + "]");
  EXPECT_EQ(parts(plan, "<think>x</think>\n" + text), "[x][" + text + "]") << "a thought may come before it";
  EXPECT_EQ(parts(plan, call), "[][] now({})") << "a call in its place";
}

TEST(AnswerParser, ReadsCallsAsHermesAndQwenSpellThem) {
  const auto plan = plan_for("hermes");
  const std::string call =
      "<tool_call>\n{\"name\": \"find\", \"arguments\": {\"text\": \"a } \\\" {\", \"n\": [1, {}]}}\n</tool_call>";
  EXPECT_EQ(parts(plan, call), R"([][] find({"text": "a } \" {", "n": [1, {}]}))");
  EXPECT_EQ(parts(plan, "I look.\n\n" + call + "\n" + call + "\nDone."),
            R"([][I look.Done.] find({"text": "a } \" {", "n": [1, {}]}) find({"text": "a } \" {", "n": [1, {}]}))");
  EXPECT_EQ(parts(plan, "<think>\nI must.\n</think>\n\n" + call),
            R"([I must.][] find({"text": "a } \" {", "n": [1, {}]}))");
  EXPECT_EQ(parts(plan, R"(<tool_call>{"arguments": {"n": 1}, "id": 7, "name": "find"}</tool_call>)"),
            R"([][] find({"n": 1}))");
  EXPECT_EQ(parts(plan, R"(<tool_call>{"name": "find", "arguments": "{\"n\": 1}"}</tool_call>)"),
            R"([][] find({"n": 1}))");
  EXPECT_EQ(parts(plan, R"(<tool_call>{"name": "now"}</tool_call>)"), "[][] now({})");
  EXPECT_EQ(
      parts(plan, R"(<tool_call>{"type": "function", "function": {"name": "now", "parameters": {}}}</tool_call>)"),
      "[][] now({})");
  EXPECT_EQ(
      parts(plan, R"(<tool_call>{"name": "a", "arguments": {}}<tool_call>{"name": "b", "arguments": {}}</tool_call>)"),
      "[][] a({}) b({})")
      << "one that was not closed";
}

TEST(AnswerParser, ReadsCallsInTheXmlOfQwenCoder) {
  const auto plan = plan_for("qwen3_xml");
  EXPECT_EQ(parts(plan,
                  "<tool_call>\n<function=find>\n<parameter=text>\n42\n</parameter>\n<parameter=n>\n42\n</parameter>\n"
                  "<parameter=where>null</parameter>\n</function>\n</tool_call>"),
            R"([][] find({"text": "42", "n": 42, "where": null}))");
  EXPECT_EQ(
      parts(plan, "<tool_call><function=other><parameter=a b>two\n\nlines\n</parameter></function></tool_call>ok"),
      R"([][ok] other({"a b": "two\n\nlines"}))");
  EXPECT_EQ(parts(plan, "<tool_call><function=now></function></tool_call>"), "[][] now({})");
  EXPECT_EQ(parts(plan,
                  "<tool_call><function=find><parameter=o>{\"a\": 123456789012345678901234567890}</parameter>"
                  "<parameter=where>12</parameter></function></tool_call>"),
            R"([][] find({"o": {"a": 123456789012345678901234567890}, "where": "12"}))");
  EXPECT_EQ(parts(plan, "<tool_call><function=now><parameter=n>4"), "[][] now({)") << "cut off";
}

TEST(AnswerParser, ReadsCallsAsMistralSpellsThem) {
  const auto plan = plan_for("mistral", "mistral");
  EXPECT_EQ(parts(plan, R"([TOOL_CALLS][{"name": "a", "arguments": {"n": 1}}, {"name": "b", "arguments": {}}])"),
            R"([][] a({"n": 1}) b({}))");
  EXPECT_EQ(parts(plan, R"(Hm.[TOOL_CALLS]a[ARGS]{"n": 1}[TOOL_CALLS]b[CALL_ID]123456789[ARGS]{})"),
            R"([][Hm.] a({"n": 1}) b({}))");
  EXPECT_EQ(parts(plan, "[THINK]So.[/THINK]Yes"), "[So.][Yes]");
}

TEST(AnswerParser, ReadsCallsAsLlama3SpellsThem) {
  const auto plan = plan_for("llama3_json", "none");
  EXPECT_EQ(parts(plan, R"({"name": "a", "parameters": {"n": 1}})"), R"([][] a({"n": 1}))");
  EXPECT_EQ(parts(plan, R"(<|python_tag|>{"name": "a", "parameters": {"n": 1}}; {"name": "b", "parameters": {}})"),
            R"([][] a({"n": 1}) b({}))");
  EXPECT_EQ(parts(plan, R"({"answer": 42} is JSON)"), R"([][{"answer": 42} is JSON])") << "an answer, no call";
  EXPECT_EQ(parts(plan, R"(Use {"name": "a", "parameters": {}})"), R"([][Use {"name": "a", "parameters": {}}])");
  EXPECT_EQ(parts(plan, "<|python_tag|>print(1)"), "[][<|python_tag|>print(1)]");
}

TEST(AnswerParser, ReadsCallsAsGemmaSpellsThem) {
  const auto plan = plan_for("gemma4", "gemma4");
  EXPECT_EQ(parts(plan,
                  "<|channel>thought\nI look.\n<channel|><|tool_call>call:find{n:42,o:{},text:<|\"|>a \"b\", "
                  "{c}<|\"|>}<tool_call|>"),
            R"([I look.][] find({"n":42,"o":{},"text":"a \"b\", {c}"}))");
  EXPECT_EQ(parts(plan,
                  "<|tool_call>call:a{l:[<|\"|>x<|\"|>,[],{k:null},-1.5],t:true,w:two "
                  "words}<tool_call|><|tool_call>call:b{}<tool_call|>"),
            R"([][] a({"l":["x",[],{"k":null},-1.5],"t":true,"w":"two words"}) b({}))");
  EXPECT_EQ(parts(plan, R"(<|tool_call>call:a{q:"a, \"b",n:1}<tool_call|>)"), R"([][] a({"q":"a, \"b","n":1}))");
  EXPECT_EQ(parts(plan_for("functiongemma"), "<start_function_call>call:a{x:<escape>1<escape>}<end_function_call>"),
            R"([][] a({"x":"1"}))");
}

TEST(AnswerParser, WhatIsNoCallStaysText) {
  const auto plan = plan_for("hermes");
  for (const std::string text :
       {"<tool_call>", "a <tool_call> b", "<tool_call>{}</tool_call>", "<tool_call>{\"name\": 3}</tool_call>x",
        "<tool_call>{\"arguments\": {\"n\": 1}}</tool_call>", "<tool_ca", "<tool_call>[1]</tool_call>",
        "<tool_call>{\"name\": \"\", \"arguments\": {}}</tool_call>", "<tool_call><b>x</b></tool_call> y"}) {
    EXPECT_EQ(parts(plan, text), "[][" + text + "]");
  }
  EXPECT_EQ(parts(plan_for("none", "none"), "<tool_call><think>"), "[][<tool_call><think>]");
}

TEST(AnswerParser, ACallOfNoToolStaysText) {
  const auto plan = plan_for("llama3_json", "none");
  EXPECT_EQ(parts(plan, R"({"name": "Alice", "age": 30, "city": "Rome"})"),
            R"([][{"name": "Alice", "age": 30, "city": "Rome"}])");
  EXPECT_EQ(parts(plan, R"({"people": [1, 2]})"), R"([][{"people": [1, 2]}])");
  EXPECT_EQ(parts(plan_for("mistral"), "[TOOL_CALLS]I cannot do {this} sorry"),
            "[][[TOOL_CALLS]I cannot do {this} sorry]");
  EXPECT_EQ(parts(plan_for("gemma4"), "<|tool_call>call:nothing{}<tool_call|>"),
            "[][<|tool_call>call:nothing{}<tool_call|>]");
}

/// A call that the answer's limit or the model broke off is not made whole: nobody shall run it.
TEST(AnswerParser, WhatIsCutOffStaysUnfinished) {
  EXPECT_EQ(parts(plan_for("hermes"), R"(<tool_call>{"name": "a", "argu)"), "[][] a()");
  EXPECT_EQ(parts(plan_for("hermes"), R"(<tool_call>{"name": "a" "arguments": {"n": 1}}</tool_call>)"), "[][] a()");
  EXPECT_EQ(parts(plan_for("hermes"),
                  R"(<tool_call>{"name": "a", "arguments": {"n": 1}, "parameters": {"n": 2}}</tool_call>)"),
            R"([][] a({"n": 1}))");
  EXPECT_EQ(parts(plan_for("gemma4"), "<|tool_call>call:a{city}<tool_call|>It is 10:30, ok"),
            "[][It is 10:30, ok] a({)");
  EXPECT_EQ(parts(plan_for("gemma4"), "<|tool_call>call:a{n:1<tool_call|>Done"), "[][Done] a({\"n\":)");
  EXPECT_EQ(parts(plan_for("gemma4"), "<|tool_call>call:a{q:<|\"|>x<tool_call|><|tool_call>call:b{}<tool_call|>"),
            "[][] a({\"q\":) b({})");
  AnswerParser parser(plan_for("hermes"));
  parser.push(R"(<tool_call>{"name": "a", "arguments": {"n": 1)");
  parser.finish();
  EXPECT_FALSE(parser.has_whole_calls());
}

TEST(AnswerParser, TextBehindACallThatWasNotClosedIsKept) {
  EXPECT_EQ(parts(plan_for("hermes"), "<tool_call>\n{\"name\": \"a\"}\n\nI wait."), "[][I wait.] a({})");
  EXPECT_EQ(parts(plan_for("gemma4"), "<|tool_call>call:a{}\n<b>"), "[][<b>] a({})");
  EXPECT_EQ(
      parts(plan_for("qwen3_xml"), "<tool_call><function=a></function>\n<tool_call><function=b></function>\n<i> b"),
      "[][<i> b] a({}) b({})");
}

TEST(AnswerParser, ControlTokensAreNoContent) {
  const auto plan = plan_for("gemma4", "gemma4");
  plan->control_marks = {"<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|\"|>"};
  EXPECT_EQ(parts(plan, "Hello <|channel>world<channel|> and <|\"|>all"), "[][Hello world and all]");
  EXPECT_EQ(parts(plan, "<|tool_call>hm<tool_call|> text"), "[][hm text]");
  EXPECT_EQ(parts(plan, "<|channel>thought\nSo.<channel|>Yes"), "[So.][Yes]");
  EXPECT_EQ(parts(plan, "<|channel>"), "[][]");
}

TEST(AnswerParser, APieceOfTextBetweenControlTokensMakesNoOther) {
  const auto plan = plan_for("gemma4", "none");
  plan->control_marks = {"<|channel>"};
  EXPECT_EQ(parts(plan, "<|cha<|channel>nnel> x"), "[][<|channel> x]");
}

TEST(AnswerParser, AThoughtsMarkThatIsCutOffIsNoContent) {
  const auto plan = plan_for("gemma4", "gemma4");
  EXPECT_EQ(parts(plan, "<|channel>thought"), "[][<|channel>thought]");
  plan->control_marks = {"<|channel>", "<channel|>"};
  EXPECT_EQ(parts(plan, "<|channel>thought"), "[][]");
  EXPECT_EQ(parts(plan, "<|channel>thoughts are free"), "[][thoughts are free]");
  EXPECT_EQ(parts(plan, "A<|channel>thought"), "[][Athought]");
}

TEST(AnswerParser, WhatThePromptBeganIsNeverContent) {
  const auto plan = plan_for("hermes");
  plan->prefix = forced_call(plan->syntax, "");
  EXPECT_EQ(parts(plan, "x"), "[][x]");
  EXPECT_EQ(parts(plan, "nothing\", \"arguments\": {}}</tool_call>"), "[][nothing\", \"arguments\": {}}</tool_call>]");
}

TEST(AnswerParser, ForcedBeginningsAreReadAsIfTheModelHadWrittenThem) {
  const std::map<std::string, std::string> rests = {
      {"hermes", R"( {"n": 1}}</tool_call>)"}, {"qwen3_xml", "<parameter=n>1</parameter></function></tool_call>"},
      {"mistral", R"( {"n": 1}}])"},           {"llama3_json", R"( {"n": 1}})"},
      {"gemma4", "n:1}<tool_call|>"},          {"functiongemma", "n:1}<end_function_call>"}};
  for (const auto& [name, rest] : rests) {
    const auto plan = plan_for(name);
    plan->prefix = forced_call(plan->syntax, "find");
    const AnswerDelta answer = parse(plan, rest, [] { return 3; });
    ASSERT_EQ(answer.calls.size(), 1u) << name;
    EXPECT_EQ(answer.calls[0].name, "find");
    EXPECT_EQ(Json::parse(answer.calls[0].arguments), Json({{"n", 1}})) << name;
    EXPECT_EQ(answer.content, "") << name;
    plan->prefix = forced_call(plan->syntax, "");
    const std::string whole = forced_call(plan->syntax, "find") + rest;
    ASSERT_TRUE(whole.starts_with(plan->prefix)) << name;
    EXPECT_EQ(parse(plan, whole.substr(plan->prefix.size()), [] { return 3; }).calls.size(), 1u) << name;
  }
}

TEST(AnswerParser, OneCallIsAllWhereNoMoreAreWanted) {
  const auto plan = plan_for("hermes");
  plan->is_one_call = true;
  EXPECT_EQ(
      parts(plan, R"(<tool_call>{"name": "a"}</tool_call><tool_call>{"name": "b", "arguments": {"n": 1}}</tool_call>)"),
      "[][] a({})");
}

/// Pieces of marks, JSON and text in random order: parts that depend on no cut, in linear work.
TEST(AnswerParser, SurvivesWhateverAModelWrites) {
  const std::vector<std::string> pieces = {"<tool_call>",
                                           "</tool_call>",
                                           "<think>",
                                           "</think>",
                                           "{",
                                           "}",
                                           "[",
                                           "]",
                                           "\"",
                                           "\\",
                                           ":",
                                           ",",
                                           "name",
                                           "\"name\": \"a\"",
                                           "\"arguments\": {",
                                           " ",
                                           "\n",
                                           "<function=a>",
                                           "</function>",
                                           "<parameter=b>",
                                           "</parameter>",
                                           "<",
                                           "call:",
                                           "<|\"|>",
                                           "<|tool_call>",
                                           "<tool_call|>",
                                           "[TOOL_CALLS]",
                                           "[ARGS]",
                                           "<|python_tag|>",
                                           ";",
                                           "é",
                                           "\xff",
                                           "null",
                                           "1"};
  std::mt19937 random(7);
  for (const std::string& parser : tool_parser_names()) {
    const auto plan = plan_for(parser);
    for (int i = 0; i < 300; ++i) {
      std::string text;
      for (auto n = random() % 25; n > 0; --n) text += pieces[random() % pieces.size()];
      const std::string whole = shown(parse(plan, text, [&] { return text.size() + 1; }));
      EXPECT_EQ(shown(parse(plan, text, [] { return 1; })), whole) << parser << ": " << text;
      EXPECT_EQ(shown(parse(plan, text, [&] { return 1 + random() % 9; })), whole) << parser << ": " << text;
    }
  }
}

TEST(AnswerSyntax, FollowsFromTheTemplate) {
  const AnswerSyntax llama =
      answer_syntax(R"({{ 'Respond in the format {"name": function name, "parameters": dictionary of )"
                    R"(argument name and its value}.' }} tools)");
  EXPECT_TRUE(llama.is_bare_json_call) << "Llama 3.2 has no <|python_tag|>";
  EXPECT_EQ(answer_syntax("{{ '<tool_call>' }} </think> tools").calls[0].open, "<tool_call>");
  EXPECT_EQ(answer_syntax("{{ '<tool_call>' }} </think> tools").think_open, "<think>");
  EXPECT_TRUE(answer_syntax("'<tool_call>\n<function=' '<think>\n' '</think>' tools").names_come_first) << "Qwen 3.5";
  EXPECT_EQ(answer_syntax("[TOOL_CALLS] [ARGS] tools").names_come_first, true);
  EXPECT_EQ(answer_syntax("<|channel> <|tool_call> tools").think_close, "<channel|>");
  EXPECT_EQ(answer_syntax("<|python_tag|> tools").is_bare_json_call, true);
  EXPECT_TRUE(answer_syntax("{{ messages }}").explains_tools);
  EXPECT_FALSE(answer_syntax("{{ tools }}").explains_tools);
  EXPECT_TRUE(answer_syntax("").calls.empty());
  EXPECT_TRUE(answer_syntax("<tool_call>", "none").calls.empty());
}

}  // namespace
}  // namespace commissure
