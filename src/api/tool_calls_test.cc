#include <gtest/gtest.h>

#include <algorithm>

#include "api/answer_format.h"
#include "api/chat_request.h"
#include "support/fake_engine.h"
#include "support/golden_files.h"

namespace commissure {
namespace {

using testing::FakeEngine;

constexpr std::string_view kTools =
    R"([{"type":"function","function":{"name":"find","description":"d","parameters":{"type":"object","properties":{"n":{"type":"integer"}}}}},
        {"type":"function","function":{"name":"now"}}])";

class ToolCallsTest : public ::testing::Test {
 protected:
  ToolCallsTest() {
    use_template(
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if tools %}<tool_call>{{ tools | length "
        "}}{% endif %}>");
  }

  void use_template(const std::string& source) {
    engine_.mutable_model().chat_template = ChatTemplate::compile(source).value();
    engine_.mutable_model().answer_syntax = answer_syntax(source);
  }
  /// The real one.
  void use_gpt_oss() {
    const std::string golden = std::string(COMMISSURE_SOURCE_DIR) + "/tests/golden/";
    use_template(testing::read_file(golden + "template/gptoss.jinja"));
  }
  static Json json(std::string_view text) { return parse_json(text).value(); }
  ApiResult<ChatRequest> chat(std::string_view more,
                              std::string_view messages = R"([{"role":"user","content":"hi"}])") {
    return parse_chat_request(json(fmt::format(R"({{"messages":{},{}}})", messages, more)), engine_.model(), options_);
  }
  std::string prompt_of(std::string_view more, std::string_view messages = R"([{"role":"user","content":"hi"}])") {
    const auto request = chat(more, messages);
    if (!request) return "refused: " + request.error().message;
    return testing::ByteTokenizer().decode(request->fields.request.prompt);
  }
  static std::string with_tools(std::string_view more = "") { return fmt::format(R"("tools":{}{})", kTools, more); }

  /// An answer's events, one for each piece.
  static std::vector<GenerationEvent> events(const std::vector<std::string>& pieces,
                                             FinishReason finish = FinishReason::kStop) {
    std::vector<GenerationEvent> all;
    int n_tokens = 0;
    for (const std::string& piece : pieces) {
      all.emplace_back().text = piece;
      all.back().usage.completion_tokens = ++n_tokens;
    }
    all.back().finish = finish;
    return all;
  }
  Json whole(std::string_view more, const std::vector<std::string>& pieces) {
    const auto request = chat(more);
    EXPECT_TRUE(request) << request.error().message;
    const auto format = make_chat_format(AnswerShape(), 1, request->plan);
    const auto all = events(pieces);
    for (const GenerationEvent& event : all) format->collect(0, event);
    return format->whole(all.back().usage);
  }
  /// The choices' deltas of a stream, and its last finish_reason.
  std::pair<std::vector<Json>, std::string> streamed(std::string_view more, const std::vector<std::string>& pieces) {
    const auto request = chat(more);
    EXPECT_TRUE(request) << request.error().message;
    const auto format = make_chat_format(AnswerShape(), 1, request->plan);
    std::string text;
    for (const GenerationEvent& event : events(pieces)) text += format->stream_event(0, event, event.usage);
    std::vector<Json> deltas;
    std::string finish;
    for (std::size_t at = 0; (at = text.find("data: ", at)) != std::string::npos; ++at) {
      const Json chunk = json(text.substr(at + 6, text.find('\n', at) - at - 6));
      const Json& choice = chunk["choices"][0];
      deltas.push_back(choice["delta"]);
      if (!choice["finish_reason"].is_null()) finish = choice["finish_reason"];
    }
    return {deltas, finish};
  }

  FakeEngine engine_;
  ApiOptions options_;
};

TEST_F(ToolCallsTest, TheTemplateGetsTheTools) {
  EXPECT_EQ(prompt_of(with_tools()), "[user]hi<tool_call>2>");
  EXPECT_EQ(prompt_of(with_tools(R"(,"tool_choice":"none")")), "[user]hi>");
  EXPECT_EQ(
      prompt_of(with_tools(
          R"(,"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[{"type":"function","name":"now"}]}})")),
      "[user]hi<tool_call>1>");
}

TEST_F(ToolCallsTest, ACallThatIsAMustIsBegunInThePrompt) {
  EXPECT_EQ(prompt_of(with_tools(R"(,"tool_choice":{"type":"function","function":{"name":"now"}})")),
            "[user]hi<tool_call>2><tool_call>\n{\"name\": \"now\", \"arguments\":");
  EXPECT_EQ(prompt_of(with_tools(R"(,"tool_choice":"required")")), "[user]hi<tool_call>2><tool_call>\n{\"name\": \"");
  EXPECT_TRUE(prompt_of(R"("tools":[{"function":{"name":"one"}}],"tool_choice":"required")")
                  .ends_with("{\"name\": \"one\", \"arguments\":"));
  const Json answer =
      whole(with_tools(R"(,"tool_choice":"required")"), {"find", "\", \"arguments\": {\"n\"", ": 1}}\n</tool_call>"});
  const Json& message = answer["choices"][0]["message"];
  EXPECT_TRUE(message["content"].is_null());
  EXPECT_EQ(message["tool_calls"][0]["function"], json(R"({"name":"find","arguments":"{\"n\": 1}"})"));
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "tool_calls");
}

TEST_F(ToolCallsTest, AThoughtThatThePromptBeganEndsBeforeACallThatIsAMust) {
  use_template("</think>{% if tools %}<tool_call>{% endif %}<think>{{ '\n' }}");
  EXPECT_EQ(prompt_of(with_tools(R"(,"tool_choice":{"type":"function","function":{"name":"now"}})")),
            "</think><tool_call><think>\n\n</think>\n\n<tool_call>\n{\"name\": \"now\", \"arguments\":");
  const Json answer = whole(R"("n":1)", {"So", " so.", "\n</think>", "\n\nYes"});
  EXPECT_EQ(answer["choices"][0]["message"]["reasoning_content"], "So so.");
  EXPECT_EQ(answer["choices"][0]["message"]["content"], "Yes");
  EXPECT_EQ(answer["usage"]["completion_tokens_details"]["reasoning_tokens"], 3);
  EXPECT_FALSE(
      whole(R"("include_reasoning":false)", {"So.</think>Yes"})["choices"][0]["message"].contains("reasoning_content"));
  EXPECT_EQ(whole(R"("reasoning_format":"none")", {"So.</think>Yes"})["choices"][0]["message"]["content"],
            "So.</think>Yes");
}

TEST_F(ToolCallsTest, StreamsCallsAsDeltas) {
  const auto [deltas, finish] = streamed(with_tools(), {"Let me", " see.\n", "<tool_", "call>{\"name\": \"fi",
                                                        "nd\", \"arguments\": {\"n", "\": 1}}</tool_call>", ""});
  EXPECT_EQ(finish, "tool_calls");
  std::string content, arguments;
  std::vector<Json> first;
  for (const Json& delta : deltas) {
    content += delta.value("content", "");
    for (const Json& call : delta.value("tool_calls", Json::array())) {
      EXPECT_EQ(call["index"], 0);
      arguments += call["function"]["arguments"];
      if (call.contains("id")) first.push_back(call);
    }
  }
  EXPECT_EQ(content, "Let me see.");
  EXPECT_EQ(arguments, "{\"n\": 1}");
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(first[0]["type"], "function");
  EXPECT_EQ(first[0]["function"]["name"], "find");
  EXPECT_TRUE(first[0]["id"].get<std::string>().starts_with("call_"));
}

TEST_F(ToolCallsTest, WithoutToolsCallsAreText) {
  const std::string text = R"(<tool_call>{"name": "now"}</tool_call>)";
  const Json answer = whole(R"("n":1)", {text});
  EXPECT_EQ(answer["choices"][0]["message"]["content"], text);
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "stop");
}

TEST_F(ToolCallsTest, ATemplateThatKnowsNoToolsIsToldInTheMessages) {
  use_template("{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}");
  const std::string prompt =
      prompt_of(with_tools(), R"([{"role":"system","content":"Be kind."},{"role":"user","content":"hi"},
    {"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"now","arguments":"{}"}}]},
    {"role":"tool","tool_call_id":"1","content":"noon"},{"role":"tool","tool_call_id":"2","content":"late"}])");
  EXPECT_TRUE(prompt.starts_with("[system]Be kind.\n\nYou can call functions")) << prompt;
  EXPECT_NE(prompt.find("\n{\"type\":\"function\",\"function\":{\"name\":\"now\"}}\n</tools>"), std::string::npos)
      << prompt;
  EXPECT_TRUE(prompt.ends_with(
      "[user]hi[assistant]<tool_call>\n{\"name\":\"now\",\"arguments\":{}}\n</tool_call>[user]<tool_response>\nnoon\n"
      "</tool_response>\n<tool_response>\nlate\n</tool_response>"))
      << prompt;
  EXPECT_EQ(
      whole(with_tools(), {R"(<tool_call>{"name":"now","arguments":{}}</tool_call>)"})["choices"][0]["finish_reason"],
      "tool_calls");
}

TEST_F(ToolCallsTest, ATemplateWithoutSystemMessagesIsToldByTheUser) {
  use_template(
      "{% for m in messages %}{% if m.role == 'system' or (loop.previtem is defined and loop.previtem.role == m.role) "
      "%}"
      "{{ raise_exception('no') }}{% endif %}[{{ m.role }}]{{ m.content }}{% endfor %}");
  const std::string prompt = prompt_of(with_tools(), R"([{"role":"user","content":"hi"},
    {"role":"assistant","content":"","tool_calls":[{"function":{"name":"now","arguments":"{}"}}]},
    {"role":"function","name":"now","content":[{"type":"text","text":"noon"}]},{"role":"user","content":"thanks"}])");
  EXPECT_TRUE(prompt.starts_with("[user]You can call functions")) << prompt;
  EXPECT_TRUE(prompt.ends_with(
      "\n\nhi[assistant]<tool_call>\n{\"name\":\"now\",\"arguments\":{}}\n</tool_call>[user]<tool_response>\nnoon\n"
      "</tool_response>\n\nthanks"))
      << prompt;
}

TEST_F(ToolCallsTest, MistralsIdsHaveNineCharacters) {
  use_template("[TOOL_CALLS]{% if tools %}{% endif %}");
  const Json answer = whole(with_tools(), {R"([TOOL_CALLS][{"name": "now", "arguments": {}}])"});
  EXPECT_EQ(answer["choices"][0]["message"]["tool_calls"][0]["id"].get<std::string>().size(), 9u);
}

TEST_F(ToolCallsTest, CallsOfThePastWithoutArgumentsHaveNone) {
  use_template(
      "{# tools #}{% for m in messages %}{% for c in m.tool_calls or [] %}{% for k, v in c.function.arguments.items() "
      "%}{{ k "
      "}}={{ "
      "v }}{% endfor %};{% endfor %}{% endfor %}");
  for (const std::string arguments : {R"(,"arguments":"")", R"(,"arguments":" \n")", R"(,"arguments":null)", ""}) {
    EXPECT_EQ(prompt_of(R"("n":1)", R"([{"role":"assistant","tool_calls":[{"function":{"name":"now")" + arguments +
                                        R"(}},{"function":{"name":"find","arguments":"{\"n\":1}"}}]}])"),
              ";n=1;")
        << arguments;
  }
}

TEST_F(ToolCallsTest, ThoughtsOfThePastComeUnderBothNames) {
  use_template("{% for m in messages %}{{ m.reasoning }}|{{ m.reasoning_content }};{% endfor %}");
  EXPECT_EQ(prompt_of(R"("n":1)", R"([{"role":"assistant","content":"x","reasoning":"a"},
    {"role":"assistant","content":"x","reasoning_content":"b"},
    {"role":"assistant","content":"x","reasoning":"c","reasoning_content":"d"}])"),
            "a|a;b|b;c|d;");
}

TEST_F(ToolCallsTest, ABrokenCallIsNoReasonToStop) {
  const std::string broken = R"(<tool_call>{"name": "find", "arguments": {"n": 'x'}}</tool_call>)";
  const std::string good = R"(<tool_call>{"name": "now"}</tool_call>)";
  EXPECT_EQ(whole(with_tools(), {broken + good})["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(whole(with_tools(R"(,"parallel_tool_calls":false)"), {good + broken})["choices"][0]["finish_reason"],
            "tool_calls");
}

/// What gpt-oss writes, token by token.
const std::vector<std::string> kHarmonyAnswer = {
    "<|channel|>",   "analysis",    "<|message|>", "So",          " so.",      "<|end|>", "<|start|>",
    "assistant",     "<|channel|>", "commentary",  "<|message|>", "I look.",   "<|end|>", "<|start|>",
    "assistant",     "<|channel|>", "commentary",  " to=",        "functions", ".find",   " ",
    "<|constrain|>", "json",        "<|message|>", "{\"n\"",      ": 1}",      ""};

TEST_F(ToolCallsTest, AnswersInChannelsAreTakenApart) {
  use_gpt_oss();
  const Json answer = whole(with_tools(), kHarmonyAnswer);
  const Json& message = answer["choices"][0]["message"];
  EXPECT_EQ(message["reasoning_content"], "So so.");
  EXPECT_EQ(message["content"], "I look.");
  EXPECT_EQ(message["tool_calls"][0]["function"], json(R"({"name":"find","arguments":"{\"n\": 1}"})"));
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "tool_calls");
  EXPECT_EQ(answer["usage"]["completion_tokens_details"]["reasoning_tokens"], 4) << "with the marks around them";

  const auto [deltas, finish] = streamed(with_tools(), kHarmonyAnswer);
  EXPECT_EQ(finish, "tool_calls");
  std::string thoughts, content, name, arguments;
  for (const Json& delta : deltas) {
    thoughts += delta.value("reasoning_content", "");
    content += delta.value("content", "");
    for (const Json& call : delta.value("tool_calls", Json::array())) {
      name += call["function"].value("name", "");
      arguments += call["function"]["arguments"];
    }
  }
  EXPECT_EQ(thoughts + "|" + content + "|" + name + arguments, "So so.|I look.|find{\"n\": 1}");
}

TEST_F(ToolCallsTest, AnswersInChannelsAreTakenApartWithoutTools) {
  use_gpt_oss();
  const std::vector<std::string> pieces = {"<|channel|>analysis<|message|>So.", "<|end|><|start|>assistant",
                                           "<|channel|>final<|message|>", "Yes"};
  const Json answer = whole(R"("n":1)", pieces);
  EXPECT_EQ(answer["choices"][0]["message"]["reasoning_content"], "So.");
  EXPECT_EQ(answer["choices"][0]["message"]["content"], "Yes");
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "stop");
  EXPECT_FALSE(whole(R"("include_reasoning":false)", pieces)["choices"][0]["message"].contains("reasoning_content"));
  EXPECT_EQ(whole(R"("reasoning_format":"none")", pieces)["choices"][0]["message"]["content"],
            "<|channel|>analysis<|message|>So.<|end|>Yes");
}

TEST_F(ToolCallsTest, ACallInAChannelThatIsAMustIsBegunInThePrompt) {
  use_gpt_oss();
  const std::string begun = "<|end|><|start|>assistant<|channel|>commentary to=functions.";
  const std::string named = with_tools(R"(,"tool_choice":{"type":"function","function":{"name":"find"}})");
  EXPECT_TRUE(prompt_of(named).ends_with(begun + "find <|constrain|>json<|message|>")) << prompt_of(named);
  EXPECT_TRUE(prompt_of(with_tools(R"(,"tool_choice":"required")")).ends_with(begun));
  const Json call = whole(named, {"{\"n\":", " 1}"})["choices"][0];
  EXPECT_EQ(call["message"]["tool_calls"][0]["function"], json(R"({"name":"find","arguments":"{\"n\": 1}"})"));
  EXPECT_EQ(call["finish_reason"], "tool_calls");
  const Json chosen = whole(with_tools(R"(,"tool_choice":"required")"),
                            {"now", " ", "<|constrain|>", "json<|message|>{}"})["choices"][0];
  EXPECT_EQ(chosen["message"]["tool_calls"][0]["function"], json(R"({"name":"now","arguments":"{}"})"));
}

TEST_F(ToolCallsTest, TheMarksOfChannelsAreShownAndNeverContent) {
  use_gpt_oss();
  const std::string golden = std::string(COMMISSURE_SOURCE_DIR) + "/tests/golden/tokenizer/real_gptoss.json";
  const Json file = parse_json(testing::read_file(golden)).value();
  engine_.mutable_model().tokenizer = Tokenizer::from_json(file, Json()).value();
  ChatPrompt prompt{"<|start|>assistant"};
  const auto plan = plan_answer(engine_.model(), ToolFields(), /*is_held=*/false, prompt);
  ASSERT_NE(plan, nullptr) << "whether there are tools or not";
  EXPECT_EQ(plan->control_marks.size(), 7u);
  std::vector<TokenId> shown = shown_tokens(plan.get(), engine_.model());
  std::ranges::sort(shown, {}, [](TokenId token) { return token.value; });
  EXPECT_EQ(shown, (std::vector<TokenId>{TokenId(200002), TokenId(200003), TokenId(200005), TokenId(200006),
                                         TokenId(200007), TokenId(200008), TokenId(200012)}));
}

TEST_F(ToolCallsTest, TheEffortOfReasoningReachesTheTemplate) {
  use_gpt_oss();
  for (const std::string effort : {"low", "medium", "high"}) {
    const std::string prompt = prompt_of(fmt::format(R"("reasoning_effort":"{}")", effort));
    EXPECT_NE(prompt.find("\n\nReasoning: " + effort + "\n\n# Valid channels"), std::string::npos) << prompt;
  }
  EXPECT_NE(prompt_of(R"("n":1)").find("\n\nReasoning: medium\n\n"), std::string::npos);
}

TEST_F(ToolCallsTest, ThePastIsToldInChannels) {
  use_gpt_oss();
  const auto past = [&](const std::string& messages) {
    const std::string prompt = prompt_of(R"("n":1)", R"([{"role":"user","content":"hi"},)" + messages + "]");
    const std::size_t user = prompt.find("<|start|>user");
    return user == std::string::npos ? prompt : prompt.substr(user);
  };
  const std::string user = "<|start|>user<|message|>hi<|end|>", next = "<|start|>assistant";
  const auto thought = [](const std::string& text) {
    return "<|start|>assistant<|channel|>analysis<|message|>" + text + "<|end|>";
  };
  const auto call = [](const std::string& name, const std::string& arguments) {
    return "<|start|>assistant to=functions." + name + "<|channel|>commentary json<|message|>" + arguments + "<|call|>";
  };
  const auto result = [](const std::string& name, const std::string& text) {
    return "<|start|>functions." + name + " to=assistant<|channel|>commentary<|message|>\"" + text + "\"<|end|>";
  };
  const std::string now = R"("tool_calls":[{"id":"1","type":"function","function":{"name":"now","arguments":"{}"}}]})";
  const std::string noon = R"(,{"role":"tool","tool_call_id":"1","content":"noon"})";
  const std::string called = call("now", "{}") + result("now", "noon");
  for (const std::string thoughts : {R"("reasoning_content":"So.")", R"("reasoning":"So.")", R"("thinking":"So.")"}) {
    EXPECT_EQ(past(R"({"role":"assistant","content":null,)" + thoughts + "," + now + noon),
              user + thought("So.") + called + next);
  }
  EXPECT_EQ(past(R"({"role":"assistant",)" + now + noon), user + called + next);
  EXPECT_EQ(past(R"({"role":"assistant","content":"I look.","reasoning_content":"So.",)" + now + noon),
            user + thought("So.\n\nI look.") + called + next)
      << "the template takes one of the two";
  EXPECT_EQ(past(R"({"role":"assistant","content":"","reasoning_content":"So.",)" + now + noon +
                 R"(,{"role":"assistant","reasoning_content":"Ah.","content":"Noon."},{"role":"user","content":"hi"})"),
            user + called + "<|start|>assistant<|channel|>final<|message|>Noon.<|end|>" + user + next)
      << "thoughts before a final answer are over";
  EXPECT_EQ(past(R"({"role":"assistant","content":null,"reasoning_content":"So.","tool_calls":[
      {"id":"1","function":{"name":"now","arguments":"{}"}},{"id":"2","function":{"name":"find","arguments":"{\"n\":1}"}}]},
      {"role":"tool","tool_call_id":"2","content":"it"},{"role":"tool","tool_call_id":"1","content":"noon"})"),
            user + thought("So.") + called + call("find", "{\"n\": 1}") + result("find", "it") + next)
      << "each of several calls in front of its result";
}

TEST_F(ToolCallsTest, SaysWhatIsWrong) {
  for (const auto& [more, part] : std::vector<std::pair<std::string, std::string>>{
           {R"("tools":[1])", "'tools[0].function' must be an object"},
           {R"("tools":[{"type":"web_search"}])", "'tools[0].type' must be \"function\""},
           {R"("tools":[{"type":"function","function":{"name":"a b"}}])",
            "'tools[0].function.name' must have 1 to 128"},
           {R"("tools":[{"type":"function","function":{"name":"a","parameters":[]}}])",
            "'tools[0].function.parameters' must be an object"},
           {R"("tools":[{"function":{"name":"a"}},{"function":{"name":"a"}}])", "two functions named 'a'"},
           {R"("tool_choice":"required")", "'tools' has no function"},
           {with_tools(R"(,"tool_choice":"always")"), "'tool_choice' must be"},
           {with_tools(R"(,"tool_choice":{"type":"function","function":{"name":"b"}})"), "names 'b'"},
           {with_tools(
                R"(,"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[{"name":"b"}]}})"),
            "not among 'tools'"},
           {R"("reasoning_format":"xml")", "'reasoning_format' must be"}}) {
    const auto request = chat(more);
    ASSERT_FALSE(request) << more;
    EXPECT_EQ(request.error().status, 400);
    EXPECT_NE(request.error().message.find(part), std::string::npos) << request.error().message;
  }
  engine_.mutable_model().answer_syntax = answer_syntax("", "none", "none");
  EXPECT_NE(chat(with_tools()).error().message.find("--tool-parser none"), std::string::npos);
}

}  // namespace
}  // namespace commissure
