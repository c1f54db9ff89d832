// Answers of gpt-oss: messages with headers, in any order, cut anywhere, and as models get them wrong.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "answer/harmony_header.h"
#include "core/json.h"
#include "support/answer_testing.h"
#include "support/golden_files.h"

namespace commissure {
namespace {

using testing::parse;
using testing::parts;
using testing::plan_for;
using testing::shown;

std::shared_ptr<AnswerPlan> plan() { return plan_for("harmony", "harmony"); }

/// Marks are control tokens, as in the model's own vocabulary.
std::shared_ptr<AnswerPlan> real_plan() {
  auto real = plan();
  real->control_marks = real->syntax.marks();
  return real;
}

bool is_whole(std::string_view text) {
  AnswerParser parser(plan());
  parser.push(text);
  parser.finish();
  return parser.has_whole_calls();
}

constexpr std::string_view kThought = "<|channel|>analysis<|message|>Well.<|end|>";
constexpr std::string_view kFinal = "<|start|>assistant<|channel|>final<|message|>";

std::string thought_and(std::string_view rest) { return std::string(kThought) + std::string(rest); }

TEST(Harmony, ThoughtsThenText) {
  EXPECT_EQ(parts(plan(), thought_and(kFinal) + "Yes, 2 < 3.\n"), "[Well.][Yes, 2 < 3.\n]");
  EXPECT_EQ(parts(plan(), thought_and(kFinal) + "Yes<|return|>"), "[Well.][Yes]");
  EXPECT_EQ(parts(plan(), "<|channel|>final<|message|>Yes"), "[][Yes]");
  EXPECT_EQ(parts(plan(), "<|channel|>commentary<|message|>I look.<|end|>" + std::string(kFinal) + "There."),
            "[][I look.\n\nThere.]")
      << "a preamble is a paragraph of its own";
  EXPECT_EQ(parts(plan(), thought_and("<|start|>assistant") + std::string(kThought) + std::string(kFinal) + "a"),
            "[Well.\n\nWell.][a]");
  EXPECT_EQ(parts(plan(), "<|channel|>final<|message|>a<|end|><|start|>assistant" + std::string(kThought)),
            "[Well.][a]");
  EXPECT_EQ(parts(plan(), std::string(kFinal) + "a"), "[][a]") << "a prompt without a role at its end";
}

TEST(Harmony, NoMarkIsLookedForInATextThatIsHeld) {
  auto held = real_plan();
  held->prefix = "<|channel|>final<|message|>";
  held->is_held = true;
  const std::string text = R"({"t":"<|end|><|start|>assistant<|channel|>analysis<|message|>x"})";
  EXPECT_EQ(parts(held, text), "[][" + text + "]");
}

/// The messages that openai-harmony finds, as our parts.
TEST(Harmony, FindsTheMessagesThatOpenAisOwnParserFinds) {
  const std::string path = std::string(COMMISSURE_SOURCE_DIR) + "/tests/golden/harmony/answers.json";
  const Json golden = parse_json(testing::read_file(path)).value();
  ASSERT_GT(golden.size(), 20u);
  for (std::size_t i = 1; i < golden.size(); ++i) {
    AnswerDelta wanted;
    for (const Json& message : golden[i]["messages"]) {
      const auto text = message["text"].get<std::string>();
      if (message["recipient"].is_string()) {
        const auto recipient = message["recipient"].get<std::string>();
        wanted.calls.push_back({.name = recipient.substr(kHarmonyFunctions.size()), .arguments = text});
        continue;
      }
      std::string& part = message["channel"] == "analysis" ? wanted.reasoning : wanted.content;
      part += (part.empty() ? "" : "\n\n") + text;
    }
    EXPECT_EQ(parts(real_plan(), golden[i]["answer"].get<std::string>()), shown(wanted));
  }
}

TEST(Harmony, ThoughtsMayBeLeftOutOrStayText) {
  auto hiding = plan();
  hiding->hides_reasoning = true;
  EXPECT_EQ(parts(hiding, thought_and(kFinal) + "Yes"), "[][Yes]");
  auto showing = real_plan();
  showing->syntax.think_open = showing->syntax.think_close = "";
  EXPECT_EQ(parts(showing, thought_and(kFinal) + "Yes"), "[][" + std::string(kThought) + "Yes]");
}

TEST(Harmony, ReadsCallsInBothOrders) {
  const std::string arguments = R"({"text": "a } \" {", "n": [1, {}]})";
  for (const std::string header :
       {"<|channel|>commentary to=functions.find <|constrain|>json<|message|>",
        " to=functions.find<|channel|>commentary <|constrain|>json<|message|>",
        " to=functions.find<|channel|>commentary json<|message|>", "<|channel|>commentary to=functions.find<|message|>",
        "<|channel|>analysis to=functions.find code<|message|>", "<|channel|>commentary to=find json<|message|>",
        "<|channel|>commentary to=functions.find<|constrain|> json <|message|>",
        "<|channel|>commentary to=functions.find <|constrain|><|message|>",
        "<|channel|>analysis to=functions.find<|channel|>commentary json<|message|>",
        " to=functions.find<|channel|>commentary to=functions.find <|constrain|>json<|message|>"}) {
    const std::string call = header + arguments;
    EXPECT_EQ(parts(plan(), call), "[][] find(" + arguments + ")") << header;
    EXPECT_EQ(parts(real_plan(), thought_and("<|start|>assistant") + call), "[Well.][] find(" + arguments + ")");
    EXPECT_EQ(parts(plan(), call + "<|call|>"), "[][] find(" + arguments + ")") << header;
    EXPECT_TRUE(is_whole(call)) << "what ends the answer is no text of it";
  }
  EXPECT_EQ(parts(plan(), "<|channel|>commentary to=functions.now<|message|><|call|>"), "[][] now({})");
}

TEST(Harmony, MessagesComeInAnyOrder) {
  const auto call = [](std::string_view name) {
    return fmt::format("<|start|>assistant<|channel|>commentary to=functions.{} <|constrain|>json<|message|>{{}}",
                       name);
  };
  EXPECT_EQ(parts(plan(), "<|channel|>commentary<|message|>I look.<|end|>" + call("a") + "<|call|>" + call("b") +
                              "<|call|><|start|>assistant" + std::string(kThought) + std::string(kFinal) + "Done."),
            "[Well.][I look.\n\nDone.] a({}) b({})");
  EXPECT_EQ(parts(plan(), call("a") + call("b")), "[][] a({}) b({})") << "not ended by a mark";
  auto one = plan();
  one->is_one_call = true;
  EXPECT_EQ(parts(one, call("a") + "<|call|>" + call("b")), "[][] a({})");
}

TEST(Harmony, AnAnswerMayBeCutAnywhere) {
  const std::string answer =
      thought_and("<|start|>assistant<|channel|>commentary<|message|>I look.<|end|>") +
      R"(<|start|>assistant to=functions.a<|channel|>commentary json<|message|>{"n": 1}<|call|>)";
  const std::string whole = R"([Well.][I look.] a({"n": 1}))";
  EXPECT_EQ(parts(real_plan(), answer), whole);
  std::string before = "[][]";
  for (std::size_t n = 0; n <= answer.size(); ++n) {
    const std::string part = shown(parse(real_plan(), answer.substr(0, n), [] { return 3; }));
    // A mark comes in one token: what is cut within one is text, which no model writes.
    const std::size_t mark = answer.rfind("<|", n == 0 ? 0 : n - 1);
    if (mark != std::string::npos && n > mark && answer.find("|>", mark) + 2 > n) continue;
    EXPECT_GE(part.size(), before.size()) << answer.substr(0, n);
    EXPECT_EQ(part.find("channel"), std::string::npos) << part;
    EXPECT_EQ(part.find("assistant"), std::string::npos) << "a begun header is no text: " << part;
    before = part;
  }
  EXPECT_EQ(before, whole);
  EXPECT_FALSE(is_whole(R"(<|channel|>commentary to=functions.a<|message|>{"n": 1)"));
  EXPECT_FALSE(is_whole("<|channel|>commentary to=functions.a<|message|>"));
}

TEST(Harmony, WhatIsNoHeaderStaysText) {
  for (const std::string text :
       {" plain\n", "to", "to=x", " to=functions.a is a call", "json", "<|start|>user<|message|>hm", "<|start|>",
        "<|channel|>thoughts<|message|>x", "<|channel|>final words", "<|channel|>", "<|message", "<", "a <| b",
        "<|channel|>final json code<|message|>x", "<|constrain|>json", "x <|channel|> and <|message|>",
        "<|start|>assistant is said", "<|channel|>analysis to=a to=b<|message|>", "<|start|>assist"}) {
    EXPECT_EQ(parts(plan(), text), "[][" + text + "]");
  }
  EXPECT_EQ(parts(real_plan(), "<|start|>user<|message|>hm<|constrain|>"), "[][userhm]");
  EXPECT_EQ(parts(real_plan(), "<|channel|>analysis<|message|>a <|message|>b"), "[a b][]");
  EXPECT_EQ(parts(plan(), thought_and("Yes<|end|>\n") + std::string(kFinal) + "No"), "[Well.][Yes\n\nNo]")
      << "text between messages, but no spaces";
  const std::string endless = "<|channel|>final " + std::string(kMaxHarmonyHeaderBytes, 'x') + "<|message|>y";
  EXPECT_EQ(parts(plan(), endless), "[][" + endless + "]");
}

TEST(Harmony, AHeaderAsLongAsTheLimitIsRead) {
  const std::string begin = "<|channel|>final ", end = "<|message|>";
  for (const std::size_t n_bytes : {kMaxHarmonyHeaderBytes, kMaxHarmonyHeaderBytes + 1}) {
    const std::string header = begin + std::string(n_bytes - begin.size() - end.size(), 'x') + end;
    EXPECT_EQ(parts(plan(), header + "y"), n_bytes > kMaxHarmonyHeaderBytes ? "[][" + header + "y]" : "[][y]");
  }
}

TEST(Harmony, AMessageThatWasNotEndedEndsWhereTheNextBegins) {
  EXPECT_EQ(parts(plan(), "<|channel|>analysis<|message|>So" + std::string(kFinal) + "Yes"), "[So][Yes]");
  EXPECT_EQ(parts(plan(), "<|channel|>analysis<|message|>So<|channel|>final<|message|>Yes"), "[So][Yes]");
}

TEST(Harmony, ACallOfNobodyStaysText) {
  EXPECT_EQ(parts(plan(), "<|channel|>commentary to=functions.no json<|message|>{}<|call|>"),
            "[][<|channel|>commentary to=functions.no json<|message|>{}]");
  EXPECT_EQ(parts(real_plan(), thought_and("<|start|>assistant<|channel|>analysis to=python code<|message|>1+1")),
            "[Well.][assistantanalysis to=python code1+1]");
  auto without = plan();
  without->syntax.calls.clear();
  EXPECT_EQ(parts(without, "<|channel|>commentary to=functions.a<|message|>{}"),
            "[][<|channel|>commentary to=functions.a<|message|>{}]");
}

TEST(Harmony, BrokenArgumentsEndNoCallAndLoseNothing) {
  const std::string header = "<|channel|>commentary to=functions.a<|message|>";
  EXPECT_EQ(parts(plan(), header + "{\"n\": nix}<|end|>" + std::string(kFinal) + "ok"), "[][nix}\n\nok] a({\"n\": )");
  EXPECT_EQ(parts(plan(), header + "{\"n\" 1}"), "[][1}] a({\"n\" )");
  EXPECT_EQ(parts(plan(), header + "print(1)<|call|>"), "[][print(1)] a()");
  EXPECT_EQ(parts(plan(), header + "{\"n\": tr<|call|>"), "[][tr] a({\"n\": )");
  EXPECT_EQ(parts(plan(), header + "<"), "[][<] a()");
  EXPECT_EQ(parts(plan(), header + " <|channel|>final<|message|>ok"), "[][ok] a()");
  for (const std::string arguments : {"{\"n\": nix}", "{\"n\" 1}", "print(1)", "[1]", "{\"n\": 1,}<|call|>"})
    EXPECT_FALSE(is_whole(header + arguments)) << arguments;
  EXPECT_EQ(parts(plan(), header + "{\"n\": True, \"x\": \"1\n2\"}"), R"([][] a({"n": true, "x": "1\n2"}))");
  EXPECT_EQ(parts(plan(), header + "{}}]\n<|call|>"), "[][] a({})") << "brackets too many are no text";
  EXPECT_EQ(parts(plan(), header + "{} done<|call|>"), "[][done] a({})");
}

TEST(Harmony, MarksWithinATextOfArgumentsAreText) {
  EXPECT_EQ(parts(plan(), R"(<|channel|>commentary to=functions.a<|message|>{"x": "<|end|><|start|>"}<|call|>)"),
            R"([][] a({"x": "<|end|><|start|>"}))");
}

TEST(Harmony, ForcedCallsAreReadAsIfTheModelHadWrittenThem) {
  auto forced = real_plan();
  forced->prefix = forced_call(forced->syntax, "find");
  EXPECT_EQ(forced->prefix, "<|channel|>commentary to=functions.find <|constrain|>json<|message|>");
  EXPECT_EQ(parts(forced, "{\"n\": 1}"), R"([][] find({"n": 1}))");
  EXPECT_EQ(parts(forced, "I cannot"), "[][I cannot] find()");
  forced->prefix = forced_call(forced->syntax, "");
  EXPECT_EQ(parts(forced, "find <|constrain|>json<|message|>{\"n\": 1}"), R"([][] find({"n": 1}))");
  EXPECT_EQ(parts(forced, "nobody<|message|>{}"), "[][nobody{}]") << "what the prompt began is never content";
  EXPECT_EQ(parts(forced, "? I see"), "[][? I see]");
  EXPECT_EQ(parts(forced, "fi"), "[][]");
}

TEST(Harmony, ThePromptMayHaveBegunAThought) {
  auto begun = plan();
  begun->prefix = begun->syntax.think_open;
  EXPECT_EQ(parts(begun, "So.<|end|>" + std::string(kFinal) + "Yes"), "[So.][Yes]");
  EXPECT_EQ(ended_thought(begun->syntax), "<|end|><|start|>assistant");
}

TEST(Harmony, CallsOfAnotherFormAreReadInItsText) {
  auto mixed = plan_for("hermes", "harmony");
  const std::string call = R"(<tool_call>{"name": "a", "arguments": {"n": 1}}</tool_call>)";
  EXPECT_EQ(parts(mixed, thought_and(kFinal) + "I look. " + call + "<|return|>"), R"([Well.][I look.] a({"n": 1}))");
  mixed->prefix = forced_call(mixed->syntax, "a");
  EXPECT_EQ(parts(mixed, R"({"n": 1}}</tool_call>)"), R"([][] a({"n": 1}))");
}

TEST(Harmony, KnowsWhenItThinks) {
  AnswerParser parser(real_plan());
  const auto thinks_after = [&](std::string_view text) {
    parser.push(text);
    return parser.is_thinking();
  };
  EXPECT_FALSE(thinks_after("<|channel|>analysis"));
  EXPECT_TRUE(thinks_after("<|message|>"));
  EXPECT_TRUE(thinks_after("So"));
  EXPECT_FALSE(thinks_after("<|end|>"));
  EXPECT_FALSE(thinks_after("<|start|>assistant<|channel|>final<|message|>Yes"));
}

TEST(Harmony, TextLeavesAsItComes) {
  AnswerParser parser(plan());
  EXPECT_EQ(parser.push("<|channel|>final<|message|>").content, "");
  EXPECT_EQ(parser.push("Hello <").content, "Hello ");
  EXPECT_EQ(parser.push("|x").content, "<|x");
  AnswerParser plain(plan());
  EXPECT_EQ(plain.push("He").content, "He") << "no header";
}

TEST(Harmony, SurvivesWhateverAModelWrites) {
  const std::vector<std::string> pieces = {"<|start|>",
                                           "assistant",
                                           "<|channel|>",
                                           "analysis",
                                           "commentary",
                                           "final",
                                           " to=",
                                           "to=",
                                           "functions.",
                                           "a",
                                           "find",
                                           " ",
                                           "<|constrain|>",
                                           "json",
                                           "<|message|>",
                                           "<|end|>",
                                           "<|call|>",
                                           "<|return|>",
                                           "{\"n\": ",
                                           "{}",
                                           "{",
                                           "}",
                                           "\"",
                                           "1",
                                           "<",
                                           "|",
                                           "\n",
                                           "é",
                                           "true",
                                           "]"};
  std::mt19937 random(7);
  for (int i = 0; i < 2000; ++i) {
    auto any = i % 2 == 0 ? plan() : real_plan();
    if (i % 3 == 0) any->prefix = forced_call(any->syntax, i % 6 == 0 ? "" : "a");
    if (i % 5 == 0) any->syntax.think_open = "";
    std::string text;
    for (auto n = random() % 30; n > 0; --n) text += pieces[random() % pieces.size()];
    const std::string whole = shown(parse(any, text, [&] { return text.size() + 1; }));
    EXPECT_EQ(shown(parse(any, text, [] { return 1; })), whole) << text;
    EXPECT_EQ(shown(parse(any, text, [&] { return 1 + random() % 9; })), whole) << text;
  }
}

TEST(Harmony, IsChosenByItsTemplate) {
  const AnswerSyntax syntax = answer_syntax("{{ '<|start|>assistant<|channel|>final<|message|>' }} tools </think>");
  EXPECT_TRUE(syntax.has_channels);
  EXPECT_EQ(syntax.calls.at(0).form, CallForm::kChannel);
  EXPECT_EQ(syntax.think_open, "<|channel|>analysis<|message|>");
  EXPECT_FALSE(answer_syntax("<|channel> <|tool_call> tools").has_channels) << "Gemma 4";
  EXPECT_TRUE(answer_syntax("", "none", "harmony").has_channels);
  EXPECT_TRUE(answer_syntax("tools", "harmony", "none").has_channels);
  EXPECT_FALSE(answer_syntax("<|channel|> tools", "none", "none").has_channels);
  const std::vector<std::string> marks = syntax.marks();
  EXPECT_EQ(marks, std::vector<std::string>(kHarmonyMarks.begin(), kHarmonyMarks.end()));
  EXPECT_EQ(syntax.thoughts().marks(), marks) << "shown to the parser without tools, too";
}

}  // namespace
}  // namespace commissure
