#include "api/responses_request.h"

#include <gtest/gtest.h>

#include <tuple>

#include "api/chat_request.h"
#include "support/served_api.h"

namespace commissure {
namespace {

using testing::spelled_json;

Json body(std::string_view input, std::string_view more = "") {
  return spelled_json(fmt::format(R"({{"model":"fake/model","input":{}{}{}}})", input, more.empty() ? "" : ",", more));
}
ResponsesRequest read(const Json& body) {
  auto result = read_responses(body);
  EXPECT_TRUE(result) << result.error().message;
  return result ? *result : ResponsesRequest{};
}
ResponsesRequest read_with(std::string_view more) { return read(body(R"("hi")", more)); }
Json messages(std::string_view input) { return read(body(input)).chat["messages"]; }

void expect_refused(const Json& body, std::string_view param, std::string_view part) {
  const auto result = read_responses(body);
  ASSERT_FALSE(result) << dump_json(body);
  EXPECT_EQ(result.error().status, 400);
  EXPECT_EQ(result.error().param, param) << result.error().message;
  EXPECT_NE(result.error().message.find(part), std::string::npos) << result.error().message;
}

TEST(ResponsesRequest, ATextIsATextHoweverItIsGiven) {
  const Json expected = spelled_json(R"([{"role":"user","content":"one two"}])");
  EXPECT_EQ(messages(R"("one two")"), expected);
  EXPECT_EQ(messages(R"([{"role":"user","content":"one two"}])"), expected);
  EXPECT_EQ(messages(R"([{"type":"message","role":"user","content":[{"type":"input_text","text":"one "},
                         {"type":"input_text","text":"two"}]}])"),
            expected);
}

TEST(ResponsesRequest, InstructionsComeFirstAndTurnsOfOneRoleAreOne) {
  EXPECT_EQ(
      read(body(R"([{"role":"developer","content":"Be kind."},{"role":"user","content":"a"},
                          {"role":"user","content":"b"}])",
                R"("instructions":"Be brief.")"))
          .chat["messages"],
      spelled_json(R"([{"role":"system","content":"Be brief.\n\nBe kind."},{"role":"user","content":"a\n\nb"}])"));
  EXPECT_EQ(read_with(R"("instructions":"")").chat["messages"][0]["role"], "user");
}

TEST(ResponsesRequest, ItemsOfAnAnswerAreOneTurn) {
  EXPECT_EQ(messages(R"([{"role":"user","content":"n?"},
      {"type":"reasoning","id":"rs_1","summary":[],"content":[{"type":"reasoning_text","text":"Hm."}]},
      {"type":"message","id":"msg_1","role":"assistant","status":"completed",
       "content":[{"type":"output_text","text":"Let me see.","annotations":[]}]},
      {"type":"function_call","id":"fc_1","call_id":"call_1","name":"find","arguments":"{\"n\":1}"},
      {"type":"function_call","call_id":"call_2","name":"now","arguments":""},
      {"type":"function_call_output","call_id":"call_1","output":"one"},
      {"type":"function_call_output","call_id":"call_2","output":[{"type":"input_text","text":"two "},
       {"type":"input_text","text":"o'clock"}]},
      {"type":"reasoning","summary":[],"encrypted_content":null}])"),
            spelled_json(R"([{"role":"user","content":"n?"},
      {"role":"assistant","reasoning_content":"Hm.","content":"Let me see.","tool_calls":[
       {"id":"call_1","type":"function","function":{"name":"find","arguments":"{\"n\":1}"}},
       {"id":"call_2","type":"function","function":{"name":"now","arguments":""}}]},
      {"role":"tool","tool_call_id":"call_1","content":"one","name":"find"},
      {"role":"tool","tool_call_id":"call_2","content":"two o'clock","name":"now"}])"));
}

TEST(ResponsesRequest, ImagesAreThePartsOfAChat) {
  // As take_images() leaves them.
  EXPECT_EQ(
      messages(R"([{"role":"user","content":[{"type":"input_text","text":"What "},{"type":"input_text","text":"is it?"},
      {"type":"image"},{"type":"input_text","text":"Say"},
      {"type":"input_text","text":"."}]}])"),
      spelled_json(R"([{"role":"user","content":[{"type":"text","text":"What is it?"},
      {"type":"image"},
      {"type":"text","text":"Say."}]}])"));
}

TEST(ResponsesRequest, FieldsHaveTheirNamesInAChat) {
  EXPECT_EQ(
      read_with(R"("temperature":0.5,"top_p":0.9,"stream":true,"parallel_tool_calls":false,
                         "max_output_tokens":7,"reasoning":{"effort":"low","summary":"auto"})")
          .chat,
      spelled_json(R"({"model":"fake/model","temperature":0.5,"top_p":0.9,"stream":true,"parallel_tool_calls":false,
                     "max_completion_tokens":7,"reasoning_effort":"low","messages":[{"role":"user","content":"hi"}]})"));
  // What changes no answer, and what nobody knows yet.
  EXPECT_EQ(read_with(R"("store":true,"user":"u","metadata":{"a":"b"},"truncation":"auto","service_tier":"auto",
                         "include":["reasoning.encrypted_content"],"prompt_cache_key":"k","safety_identifier":"s",
                         "stream_options":{"include_obfuscation":false},"background":false,"top_logprobs":0,
                         "previous_response_id":null,"text":{"verbosity":"low"},"max_tool_calls":3,"of_tomorrow":[1],
                         "seed":1,"n":2)")
                .chat,
            read_with("").chat);
}

TEST(ResponsesRequest, FormatsAreThoseOfAChat) {
  const auto format = [](std::string_view text) {
    return read_with(fmt::format(R"("text":{{"format":{}}})", text)).chat.value("response_format", Json());
  };
  EXPECT_EQ(format(R"({"type":"text"})"), Json());
  EXPECT_EQ(format(R"({"type":"json_object"})"), spelled_json(R"({"type":"json_object"})"));
  EXPECT_EQ(format(R"({"type":"json_schema","name":"x","strict":true,"schema":{"type":"array"}})"),
            spelled_json(R"({"type":"json_schema","json_schema":{"schema":{"type":"array"}}})"));
}

TEST(ResponsesRequest, FunctionsAreThoseOfAChat) {
  const std::string tools = R"("tools":[{"type":"function","name":"find","description":"d","strict":false,
      "parameters":{"type":"object"}},{"type":"function","name":"now","parameters":null}])";
  const ResponsesRequest request = read_with(tools);
  EXPECT_EQ(
      request.chat["tools"],
      spelled_json(R"([{"type":"function","function":{"name":"find","description":"d","parameters":{"type":"object"},
                      "strict":false}},{"type":"function","function":{"name":"now"}}])"));
  EXPECT_EQ(request.echo["tools"].size(), 2u);
  for (
      const auto& [choice, expected] : std::vector<std::pair<std::string, std::string>>{
          {R"("auto")", R"("auto")"},
          {R"("required")", R"("required")"},
          {R"("none")", R"("none")"},
          {R"({"type":"function","name":"find"})", R"({"type":"function","function":{"name":"find"}})"},
          {R"({"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"now"},{"type":"mcp"}]})",
           R"({"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","name":"now"}]}})"}}) {
    EXPECT_EQ(read_with(fmt::format(R"({},"tool_choice":{})", tools, choice)).chat["tool_choice"],
              spelled_json(expected));
  }
}

/// The request of Codex: it resends the whole conversation, keeps nothing, and lists tools of OpenAI's own.
TEST(ResponsesRequest, CodexIsUnderstood) {
  const ResponsesRequest request = read(spelled_json(R"({"model":"fake/model","instructions":"You are Codex.",
      "input":[{"type":"message","role":"developer","content":[{"type":"input_text","text":"<permissions>"}]},
               {"type":"message","role":"user","content":[{"type":"input_text","text":"<environment_context>"}]},
               {"type":"message","role":"user","content":[{"type":"input_text","text":"List the files."}]},
               {"type":"reasoning","summary":[],"content":null,"encrypted_content":null},
               {"type":"function_call","name":"exec_command","arguments":"{\"cmd\":\"ls\"}","call_id":"call_1"},
               {"type":"function_call_output","call_id":"call_1","output":"a.txt"}],
      "tools":[{"type":"function","name":"exec_command","description":"Runs a command.","strict":false,
                "parameters":{"type":"object","properties":{"cmd":{"type":"string"}},"required":["cmd"],
                "additionalProperties":false}},{"type":"local_shell"},
               {"type":"web_search","external_web_access":false},{"type":"web_search_2025_08_26"}],
      "tool_choice":"auto","parallel_tool_calls":false,"reasoning":{"effort":"medium","summary":"auto"},"store":false,
      "stream":true,"include":["reasoning.encrypted_content"],"prompt_cache_key":"0199","text":{"verbosity":"medium"},
      "client_metadata":{"x-codex-installation-id":"1"}})"));
  EXPECT_EQ(request.chat["messages"], spelled_json(R"([{"role":"system","content":"You are Codex.\n\n<permissions>"},
      {"role":"user","content":"<environment_context>\n\nList the files."},
      {"role":"assistant","tool_calls":[{"id":"call_1","type":"function","function":{"name":"exec_command",
       "arguments":"{\"cmd\":\"ls\"}"}}]},
      {"role":"tool","tool_call_id":"call_1","content":"a.txt","name":"exec_command"}])"));
  EXPECT_EQ(request.chat["tools"].size(), 1u);
  EXPECT_EQ(request.left_out, (std::vector<std::string>{"local_shell", "web_search"}));
  EXPECT_EQ(request.echo["tools"].size(), 1u);  // what the model is told of
  testing::FakeEngine engine;
  engine.mutable_model().answer_syntax = answer_syntax("<tool_call>");
  const auto chat = parse_chat_request(request.chat, engine.model(), ApiOptions());
  EXPECT_TRUE(chat) << chat.error().message;
}

TEST(ResponsesRequest, TellsWhatWasAsked) {
  EXPECT_EQ(read_with(R"("instructions":"i","metadata":{"a":"b"},"max_output_tokens":5,"reasoning":{"effort":"high"},
                         "truncation":"auto","parallel_tool_calls":false,"text":{"format":{"type":"json_object"}})")
                .echo,
            spelled_json(R"({"max_output_tokens":5,"reasoning":{"effort":"high","summary":null},
                     "text":{"format":{"type":"json_object"}},"tools":[],"tool_choice":"auto",
                     "parallel_tool_calls":false,"metadata":{"a":"b"},"instructions":"i"})"));
}

TEST(ResponsesRequest, SaysWhichFieldIsWrong) {
  const std::string long_value(513, 'x');
  for (const auto& [more, param, part] : std::vector<std::tuple<std::string, std::string, std::string>>{
           {R"("previous_response_id":"resp_1")", "previous_response_id", "send the whole conversation as 'input'"},
           {R"("conversation":{"id":"c"})", "conversation", "nothing is kept here"},
           {R"("background":true)", "background", "\"stream\": true"},
           {R"("background":1)", "background", "must be true or false"},
           {R"("prompt":{"id":"p"})", "prompt", "'instructions' or 'input'"},
           {R"("store":"no")", "store", "must be true or false"},
           {R"("include":"x")", "include", "must be an array"},
           {R"("include":[1])", "include", "must hold strings only"},
           {R"("include":["message.output_text.logprobs"])", "include", "/v1/chat/completions has 'logprobs'"},
           {R"("top_logprobs":2)", "top_logprobs", "/v1/chat/completions"},
           {R"("top_logprobs":21)", "top_logprobs", "between 0 and 20"},
           {R"("truncation":"yes")", "truncation", "\"disabled\" or \"auto\""},
           {R"("max_output_tokens":0)", "max_output_tokens", "between 1 and"},
           {R"("max_output_tokens":1.5)", "max_output_tokens", "must be an integer"},
           {R"("max_tool_calls":"a")", "max_tool_calls", "must be an integer"},
           {R"("reasoning":"low")", "reasoning", "must be an object"},
           {R"("reasoning":{"effort":"huge"})", "reasoning.effort", "must be one of none, minimal"},
           {R"("reasoning":{"effort":1})", "reasoning.effort", "must be a string"},
           {R"("reasoning":{"summary":{}})", "reasoning.summary", "must be a string"},
           {R"("text":[])", "text", "must be an object"},
           {R"("text":{"verbosity":1})", "text.verbosity", "must be a string"},
           {R"("text":{"format":"json"})", "text.format", "must be an object"},
           {R"("text":{"format":{"type":"xml"}})", "text.format.type", "must be \"text\""},
           {R"("text":{"format":{"type":"json_schema"}})", "text.format.schema", "must be a JSON schema"},
           {R"("text":{"format":{"type":"json_schema","schema":[]}})", "text.format.schema", "must be an object"},
           {R"("tools":{})", "tools", "must be an array"},
           {R"("tools":[1])", "tools", "'tools[0]' must be an object with a 'type'"},
           {R"("tools":[{"type":"custom","name":"a"}])", "tools", R"('tools[0].type' is "custom": only)"},
           {R"("tools":[{"type":"function","name":"a b"}])", "tools", "'tools[0].name' must have 1 to 128"},
           {R"("tools":[{"type":"function","name":"a","description":1}])", "tools", "'tools[0].description' must be"},
           {R"("tools":[{"type":"function","name":"a","parameters":[]}])", "tools", "'tools[0].parameters' must be"},
           {R"("tool_choice":"any")", "tool_choice", "'tool_choice' must be"},
           {R"("tool_choice":{"type":"function"})", "tool_choice", "'tool_choice' must be"},
           {R"("tool_choice":{"type":"web_search"})", "tool_choice", R"('tool_choice.type' is "web_search")"},
           {R"("tool_choice":{"type":"allowed_tools"})", "tool_choice", "'tool_choice.tools' must be an array"},
           {R"("metadata":[])", "metadata", "must be an object"},
           {R"("metadata":{"a":1})", "metadata", "must have strings"},
           {fmt::format(R"("metadata":{{"a":"{}"}})", long_value), "metadata", "at most 512"},
           {fmt::format(R"("metadata":{{"{}":"a"}})", long_value), "metadata", "at most 64"},
           {R"("instructions":["a"])", "instructions", "must be a string"}}) {
    expect_refused(body(R"("hi")", more), param, part);
  }
  std::string pairs;
  for (int i = 0; i < 17; ++i) pairs += fmt::format(R"({}"{}":"v")", i > 0 ? "," : "", i);
  expect_refused(body(R"("hi")", fmt::format(R"("metadata":{{{}}})", pairs)), "metadata", "17 pairs");
}

TEST(ResponsesRequest, SaysWhichItemIsWrong) {
  for (const auto& [input, part] : std::vector<std::pair<std::string, std::string>>{
           {"[]", "at least one item"},
           {"5", "'input' must be a string or an array"},
           {"null", "'input' is missing"},
           {"[1]", "'input[0]' must be an object"},
           {R"([{"type":"web_search_call","id":"ws"}])", R"('input[0].type' is "web_search_call")"},
           {R"([{"type":7}])", "'input[0].type' is a number"},
           {R"([{"type":"item_reference","id":"msg_1"}])", "none is kept here"},
           {R"([{"role":"tool","content":"a"}])", "'input[0].role' must be"},
           {R"([{"role":"user"}])", "'input[0].content' is missing"},
           {R"([{"role":"user","content":{}}])", "'input[0].content' must be a string or an array"},
           {R"([{"role":"user","content":[1]}])", "'input[0].content[0]' must be a part"},
           {R"([{"role":"user","content":[{"type":"input_text"}]}])", "'input[0].content[0].text' must be a string"},
           {R"([{"role":"user","content":[{"type":"input_file","file_id":"f"}]}])", "is 'input_file'"},
           {R"([{"role":"assistant","content":[{"type":"image"}]}])", "is 'image'"},
           {R"([{"type":"function_call","name":"a","arguments":"{}"}])", "'input[0].call_id' must be"},
           {R"([{"type":"function_call","call_id":"1","arguments":"{}"}])", "'input[0].name' must be"},
           {R"([{"type":"function_call","call_id":"1","name":"a","arguments":{}}])", "'input[0].arguments' must be"},
           {R"([{"type":"function_call_output","output":"a"}])", "'input[0].call_id' must be"},
           {R"([{"type":"function_call_output","call_id":"1"}])", "'input[0].output' is missing"},
           {R"([{"type":"function_call_output","call_id":"1","output":[{"type":"input_image","image_url":"u"}]}])",
            "'input[0].output[0].type' is 'input_image'"},
           {R"([{"type":"reasoning","content":"a"}])", "'input[0].content' must be"},
           {R"([{"type":"reasoning","content":[{"type":"output_text","text":"a"}]}])", "must be \"reasoning_text\""}}) {
    expect_refused(body(input), "input", part);
  }
}

TEST(ResponsesRequest, FindingsOfTheChatHaveTheNamesOfTheApi) {
  const ApiError error = in_responses_terms(bad_field("response_format", "'response_format': keyword 'not'"));
  EXPECT_EQ(error.param, "text.format");
  EXPECT_EQ(error.message, "'text.format': keyword 'not'");
  EXPECT_EQ(in_responses_terms(context_overflow(10, 11, -1, "messages")).param, "input");
  EXPECT_EQ(in_responses_terms(bad_field("temperature", "'temperature' is 3")).message, "'temperature' is 3");
}

}  // namespace
}  // namespace commissure
