#include "api/messages_request.h"

#include <gtest/gtest.h>

#include <tuple>

#include "api/chat_request.h"
#include "support/fake_engine.h"

namespace commissure {
namespace {

using testing::FakeEngine;

constexpr std::string_view kTool = R"({"name":"find","description":"d","input_schema":{"type":"object"}})";

class MessagesRequestTest : public ::testing::Test {
 protected:
  static Json json(std::string_view text) {
    auto parsed = parse_json(text);
    EXPECT_TRUE(parsed) << text;
    return parsed ? *parsed : Json();
  }
  /// A body of these messages, and `more` members.
  static Json body(std::string_view messages, std::string_view more = "") {
    return json(fmt::format(R"({{"model":"fake/model","max_tokens":16,"messages":{}{}{}}})", messages,
                            more.empty() ? "" : ",", more));
  }
  static Json body_with(std::string_view more) { return body(R"([{"role":"user","content":"hi"}])", more); }
  static Json chat(const Json& body, MessagesUse use = MessagesUse::kAnswer) {
    auto result = chat_from_messages(body, use);
    EXPECT_TRUE(result) << result.error().message;
    return result ? *result : Json::object();
  }
  static Json messages(std::string_view messages) { return chat(body(messages))["messages"]; }
  void expect_refused(const Json& body, std::string_view param, std::string_view part) {
    const auto result = chat_from_messages(body, MessagesUse::kAnswer);
    ASSERT_FALSE(result) << dump_json(body);
    EXPECT_EQ(result.error().status, 400);
    EXPECT_EQ(result.error().param, param) << result.error().message;
    EXPECT_NE(result.error().message.find(part), std::string::npos) << result.error().message;
  }
};

TEST_F(MessagesRequestTest, ATextIsATextHoweverItIsGiven) {
  const Json expected = json(R"([{"role":"user","content":"one two"}])");
  EXPECT_EQ(messages(R"([{"role":"user","content":"one two"}])"), expected);
  EXPECT_EQ(messages(R"([{"role":"user","content":[{"type":"text","text":"one ","cache_control":{"type":"ephemeral"}},
                         {"type":"text","text":"two"}]}])"),
            expected);
}

TEST_F(MessagesRequestTest, TheSystemPromptComesFirst) {
  const auto system = [](std::string_view text) {
    return chat(body_with(fmt::format(R"("system":{})", text)))["messages"][0];
  };
  EXPECT_EQ(system(R"("Be kind.")"), json(R"({"role":"system","content":"Be kind."})"));
  EXPECT_EQ(system(R"([{"type":"text","text":"Be "},{"type":"text","text":"kind.","cache_control":null}])"),
            json(R"({"role":"system","content":"Be kind."})"));
  EXPECT_EQ(system(R"([{"type":"text","text":"x-anthropic-billing-header: cc_version=1; cch=5;"},
                       {"type":"text","text":"Be kind."}])"),
            json(R"({"role":"system","content":"Be kind."})"));
  for (const std::string_view none : {R"("")", "[]", "null"}) EXPECT_EQ(system(none)["role"], "user") << none;
}

TEST_F(MessagesRequestTest, CallsAndTheirResultsAreThoseOfAChat) {
  EXPECT_EQ(messages(R"([{"role":"user","content":"n?"},
      {"role":"assistant","content":[{"type":"thinking","thinking":"Hm.","signature":"s"},
        {"type":"redacted_thinking","data":"x"},{"type":"text","text":"Let me see."},
        {"type":"tool_use","id":"toolu_1","name":"find","input":{"n":[1,{"a":"b"}]}},
        {"type":"tool_use","id":"toolu_2","name":"now"}]},
      {"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"one"},
        {"type":"tool_result","tool_use_id":"toolu_2","is_error":true,"content":[{"type":"text","text":"no "},
         {"type":"text","text":"clock"}]},{"type":"text","text":"So?"}]}])"),
            json(R"([{"role":"user","content":"n?"},
      {"role":"assistant","reasoning_content":"Hm.","content":"Let me see.","tool_calls":[
        {"id":"toolu_1","type":"function","function":{"name":"find","arguments":{"n":[1,{"a":"b"}]}}},
        {"id":"toolu_2","type":"function","function":{"name":"now","arguments":{}}}]},
      {"role":"tool","tool_call_id":"toolu_1","content":"one","name":"find"},
      {"role":"tool","tool_call_id":"toolu_2","content":"Error: no clock","name":"now"},
      {"role":"user","content":"So?"}])"));
  EXPECT_EQ(messages(R"([{"role":"user","content":[{"type":"tool_result","tool_use_id":"gone"}]}])"),
            json(R"([{"role":"tool","tool_call_id":"gone","content":""}])"));
}

TEST_F(MessagesRequestTest, TurnsOfOneRoleAreOne) {
  EXPECT_EQ(messages(R"([{"role":"user","content":"a"},{"role":"user","content":[{"type":"text","text":"b"},
                         {"type":"text","text":"c"}]},{"role":"user","content":""},
                         {"role":"assistant","content":[{"type":"thinking","thinking":"t"},{"type":"text","text":"d"}]},
                         {"role":"assistant","content":[{"type":"thinking","thinking":"u"},{"type":"text","text":"e"}]},
                         {"role":"system","content":"s"},{"role":"user","content":"f"}])"),
            json(R"([{"role":"user","content":"a\n\nbc"},
                     {"role":"assistant","reasoning_content":"t\n\nu","content":"d\n\ne"},
                     {"role":"system","content":"s"},{"role":"user","content":"f"}])"));
}

TEST_F(MessagesRequestTest, FieldsHaveTheirNamesInAChat) {
  EXPECT_EQ(chat(body_with(R"("temperature":0.5,"top_p":0.9,"top_k":5,"stream":true,"stop_sequences":["a","b"])")),
            json(R"({"model":"fake/model","temperature":0.5,"top_p":0.9,"top_k":5,"stream":true,"max_tokens":16,
                     "stop":["a","b"],"messages":[{"role":"user","content":"hi"}]})"));
  // What changes no answer, and what nobody knows yet.
  EXPECT_EQ(chat(body_with(R"("metadata":{"user_id":"u"},"service_tier":"auto","context_management":{"edits":[]},
                              "output_config":{"effort":"high"},"cache_control":{"type":"ephemeral"},"n":5,"seed":1)")),
            chat(body_with("")));
}

TEST_F(MessagesRequestTest, ToolsAreFunctions) {
  const Json one = chat(body_with(fmt::format(R"("tools":[{},{{"type":"custom","name":"now","strict":true,
      "input_schema":{{"type":"object"}},"cache_control":{{"type":"ephemeral"}}}}])",
                                              kTool)));
  EXPECT_EQ(one["tools"], json(R"([
      {"type":"function","function":{"name":"find","description":"d","parameters":{"type":"object"}}},
      {"type":"function","function":{"name":"now","parameters":{"type":"object"},"strict":true}}])"));
  EXPECT_FALSE(one.contains("tool_choice"));
  const std::string longest(128, 'x');
  EXPECT_EQ(chat(body_with(fmt::format(R"("tools":[{{"name":"{}","input_schema":{{}}}}])", longest)))["tools"].size(),
            1u);
}

TEST_F(MessagesRequestTest, ToolChoiceIsThatOfAChat) {
  for (const auto& [choice, expected] : std::vector<std::pair<std::string, std::string>>{
           {R"({"type":"auto"})", R"("auto")"},
           {R"({"type":"any"})", R"("required")"},
           {R"({"type":"none"})", R"("none")"},
           {R"({"type":"tool","name":"find"})", R"({"type":"function","function":{"name":"find"}})"}}) {
    const Json one = chat(body_with(fmt::format(R"("tools":[{}],"tool_choice":{})", kTool, choice)));
    EXPECT_EQ(one["tool_choice"], json(expected));
    EXPECT_FALSE(one.contains("parallel_tool_calls"));
  }
  EXPECT_EQ(chat(body_with(R"("tool_choice":{"type":"auto","disable_parallel_tool_use":true})"))["parallel_tool_calls"],
            false);
}

TEST_F(MessagesRequestTest, ThinkingIsTheTemplatesToDo) {
  const auto thinking = [](std::string_view text) { return chat(body_with(fmt::format(R"("thinking":{})", text))); };
  const Json enabled = thinking(R"({"type":"enabled","budget_tokens":1024})");
  EXPECT_EQ(enabled["chat_template_kwargs"], json(R"({"enable_thinking":true})"));
  EXPECT_FALSE(enabled.contains("include_reasoning"));
  EXPECT_EQ(thinking(R"({"type":"adaptive"})"), enabled);
  const Json disabled = thinking(R"({"type":"disabled"})");
  EXPECT_EQ(disabled["chat_template_kwargs"], json(R"({"enable_thinking":false})"));
  EXPECT_EQ(disabled["include_reasoning"], false);
  EXPECT_EQ(thinking(R"({"type":"adaptive","display":"omitted"})")["include_reasoning"], false);
  EXPECT_FALSE(thinking("null").contains("chat_template_kwargs"));
}

TEST_F(MessagesRequestTest, SaysWhichFieldIsWrong) {
  for (const auto& [more, param, part] : std::vector<std::tuple<std::string, std::string, std::string>>{
           {R"("stop_sequences":[""])", "stop_sequences", "'stop_sequences' must not hold an empty string"},
           {R"("stop_sequences":[1])", "stop_sequences", "'stop_sequences' must hold strings only"},
           {R"("metadata":"me")", "metadata", "'metadata' must be an object"},
           {R"("system":5)", "system", "'system' must be a string or an array"},
           {R"("system":["a"])", "system", "'system[0]' must be a block"},
           {R"("system":[{"type":"image"}])", "system", "'system[0]' is an image"},
           {R"("thinking":true)", "thinking", "'thinking' must be an object"},
           {R"("thinking":{})", "thinking.type", "'thinking.type' must be"},
           {R"("thinking":{"type":"enabled","budget_tokens":0})", "thinking.budget_tokens", "between 1 and"},
           {R"("tools":{})", "tools", "'tools' must be an array"},
           {R"("tools":[1])", "tools", "'tools[0]' must be an object"},
           {R"("tools":[{"type":"web_search_20250305","name":"web_search"}])", "tools",
            R"('tools[0].type' is "web_search_20250305": only)"},
           {R"("tools":[{"type":7}])", "tools", "'tools[0].type' is a number"},
           {R"("tools":[{"name":"a b","input_schema":{}}])", "tools", "'tools[0].name' must have 1 to 128"},
           {R"("tools":[{"name":"a","description":1,"input_schema":{}}])", "tools", "'tools[0].description' must be"},
           {R"("tools":[{"name":"a"}])", "tools", "'tools[0].input_schema' must be an object"},
           {R"("tool_choice":"auto")", "tool_choice", "'tool_choice' must be an object"},
           {R"("tool_choice":{"type":"required"})", "tool_choice.type", "'tool_choice.type' must be"},
           {R"("tool_choice":{"type":"tool"})", "tool_choice.name", "'tool_choice.name' is missing"},
           {R"("tool_choice":{"type":"any","disable_parallel_tool_use":1})", "tool_choice.disable_parallel_tool_use",
            "must be true or false"},
           {R"("output_config":{"format":{"type":"json_schema","schema":{}}})", "format", "'output_config.format'"},
           {R"("output_format":{"type":"json_schema","schema":{}})", "output_format", "'output_format'"}}) {
    expect_refused(body_with(more), param, part);
  }
  Json endless = body_with("");
  endless.erase("max_tokens");
  expect_refused(endless, "max_tokens", "'max_tokens' is missing");
  for (const Json& length : {Json(0), Json(-1), Json("1"), Json(1.5)}) {
    endless["max_tokens"] = length;
    expect_refused(endless, "max_tokens", "'max_tokens'");
  }
}

TEST_F(MessagesRequestTest, SaysWhichMessageIsWrong) {
  const auto in_user = [](std::string_view block) {
    return fmt::format(R"([{{"role":"user","content":[{}]}}])", block);
  };
  const auto in_assistant = [](std::string_view block) {
    return fmt::format(R"([{{"role":"assistant","content":[{}]}},{{"role":"user","content":"a"}}])", block);
  };
  for (const auto& [list, part] : std::vector<std::pair<std::string, std::string>>{
           {"[]", "'messages' must be an array of at least one message"},
           {R"("hi")", "'messages' must be an array"},
           {"[1]", "'messages[0]' must be an object"},
           {R"([{"content":"a"}])", "'messages[0].role' must be"},
           {R"([{"role":"tool","content":"a"}])", "'messages[0].role' must be"},
           {R"([{"role":"user"}])", "'messages[0].content' is missing"},
           {R"([{"role":"user","content":1}])", "'messages[0].content' must be a string or an array"},
           {in_user("1"), "'messages[0].content[0]' must be a block"},
           {in_user(R"({"type":"text"})"), "'messages[0].content[0]' must be a block"},
           {in_user(R"({"type":"image","source":{"type":"url","url":"u"}})"), "'messages[0].content[0]' is an image"},
           {in_user(R"({"type":"document"})"), "'messages[0].content[0].type' is 'document'"},
           {in_user(R"({"type":"tool_use","id":"1","name":"a","input":{}})"), "is 'tool_use'"},
           {in_user(R"({"type":"thinking","thinking":"a"})"), "is 'thinking'"},
           {in_user(R"({"type":"tool_result"})"), "'messages[0].content[0].tool_use_id' must be a string"},
           {in_user(R"({"type":"tool_result","tool_use_id":"1","is_error":"no"})"), ".is_error' must be true or false"},
           {in_user(R"({"type":"tool_result","tool_use_id":"1","content":{}})"),
            "content[0].content' must be a string"},
           {in_user(R"({"type":"tool_result","tool_use_id":"1","content":[{"type":"image","source":{}}]})"),
            "'messages[0].content[0].content[0]' is an image"},
           {in_assistant(R"({"type":"tool_result","tool_use_id":"1"})"), "is 'tool_result'"},
           {in_assistant(R"({"type":"thinking"})"), ".thinking' must be a string"},
           {in_assistant(R"({"type":"tool_use","name":"a"})"), ".id' must be a string"},
           {in_assistant(R"({"type":"tool_use","id":"1"})"), ".name' must be a string"},
           {in_assistant(R"({"type":"tool_use","id":"1","name":"a","input":"{}"})"), ".input' must be an object"},
           {in_assistant(R"({"type":"server_tool_use","id":"1"})"), "is 'server_tool_use'"},
           {R"([{"role":"user","content":"a"},{"role":"assistant","content":"So"}])",
            "answers cannot be begun here"}}) {
    expect_refused(body(list), "messages", part);
  }
  Json none = body_with("");
  none.erase("messages");
  expect_refused(none, "messages", "'messages' must be");
}

TEST_F(MessagesRequestTest, ToCountTakesNoLength) {
  Json count = body_with(fmt::format(R"("tools":[{}],"temperature":9)", kTool));
  count.erase("max_tokens");
  const Json one = chat(count, MessagesUse::kCount);
  EXPECT_FALSE(one.contains("max_tokens"));
  EXPECT_EQ(one["tools"].size(), 1u);
  EXPECT_TRUE(chat_from_messages(body(R"([{"role":"assistant","content":"So"}])"), MessagesUse::kCount));
}

TEST_F(MessagesRequestTest, TheChatHasThePromptOfTheSameChat) {
  FakeEngine engine;
  engine.mutable_model().chat_template =
      ChatTemplate::compile(
          "{% for m in messages %}[{{ m.role }}|{{ m.name }}]{{ m.content }}{% for c in m.tool_calls or "
          "[] %}<{{ c.function.name }}{{ c.function.arguments | tojson }}>{% endfor %}{% endfor %}")
          .value();
  const Json one = chat(body(R"([{"role":"user","content":"n?"},
      {"role":"assistant","content":[{"type":"tool_use","id":"1","name":"find","input":{"n":1}}]},
      {"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":"one"}]}])",
                             R"("system":"s","stop_sequences":["x"])"));
  const auto request = parse_chat_request(one, engine.model(), ApiOptions());
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(testing::ByteTokenizer().decode(request->fields.request.prompt),
            "[system|]s[user|]n?[assistant|]None<find{\"n\": 1}>[tool|find]one");
  EXPECT_EQ(request->fields.request.max_tokens, 16);
  EXPECT_EQ(request->fields.request.stop, std::vector<std::string>{"x"});
}

}  // namespace
}  // namespace commissure
