#include "api/ollama_request.h"

#include <gtest/gtest.h>

#include <tuple>

#include "api/chat_request.h"
#include "support/served_api.h"

namespace commissure {
namespace {

using testing::spelled_json;

OllamaRequest read(std::string_view body, OllamaUse use) {
  auto result = read_ollama(spelled_json(body), use);
  EXPECT_TRUE(result) << result.error().message;
  return result ? *result : OllamaRequest{};
}
OllamaRequest chat_with(std::string_view more) {
  return read(fmt::format(R"({{"messages":[{{"role":"user","content":"hi"}}]{}{}}})", more.empty() ? "" : ",", more),
              OllamaUse::kChat);
}
Json messages(std::string_view list) {
  return read(fmt::format(R"({{"messages":{}}})", list), OllamaUse::kChat).body["messages"];
}
void expect_refused(std::string_view body, OllamaUse use, std::string_view param, std::string_view part) {
  const auto result = read_ollama(spelled_json(body), use);
  ASSERT_FALSE(result) << body;
  EXPECT_EQ(result.error().status, 400);
  EXPECT_EQ(result.error().param, param) << result.error().message;
  EXPECT_NE(result.error().message.find(part), std::string::npos) << result.error().message;
}

TEST(OllamaRequest, OptionsHaveTheirNamesInAChat) {
  const OllamaRequest request = chat_with(R"("model":"fake/model:latest","stream":false,"keep_alive":"5m",
      "options":{"temperature":0.5,"top_k":5,"top_p":0.9,"min_p":0.1,"typical_p":1,"repeat_penalty":1.1,
       "presence_penalty":0.5,"frequency_penalty":0.25,"seed":7,"stop":["a"],"num_predict":9,"num_ctx":4096,
       "num_gpu":1,"num_thread":8,"use_mmap":true,"repeat_last_n":64,"mirostat":0})");
  EXPECT_EQ(request.body,
            spelled_json(R"({"model":"fake/model","stream":false,"max_completion_tokens":9,"temperature":0.5,"top_k":5,
      "top_p":0.9,"min_p":0.1,"typical_p":1,"repeat_penalty":1.1,"presence_penalty":0.5,"frequency_penalty":0.25,
      "seed":7,"mirostat":0,"stop":["a"],"messages":[{"role":"user","content":"hi"}]})"));
  EXPECT_EQ(request.model, "fake/model:latest");
  for (const std::string_view endless :
       {"", R"("options":{"num_predict":-1})", R"("options":{"num_predict":-2})", R"("options":{"num_predict":0})"}) {
    EXPECT_EQ(chat_with(endless).body["max_completion_tokens"], -1);
  }
  EXPECT_TRUE(chat_with("").stream);
}

TEST(OllamaRequest, FormatsAndThoughtsAreThoseOfAChat) {
  EXPECT_EQ(chat_with(R"("format":"json")").body["response_format"], spelled_json(R"({"type":"json_object"})"));
  EXPECT_EQ(chat_with(R"("format":{"type":"array"})").body["response_format"],
            spelled_json(R"({"type":"json_schema","json_schema":{"schema":{"type":"array"}}})"));
  EXPECT_FALSE(chat_with(R"("format":"")").body.contains("response_format"));
  EXPECT_EQ(chat_with(R"("think":true)").body["chat_template_kwargs"], spelled_json(R"({"enable_thinking":true})"));
  const Json none = chat_with(R"("think":false)").body;
  EXPECT_EQ(none["chat_template_kwargs"], spelled_json(R"({"enable_thinking":false})"));
  EXPECT_EQ(none["include_reasoning"], false);
  EXPECT_EQ(chat_with(R"("think":"low")").body["reasoning_effort"], "low");
}

TEST(OllamaRequest, CallsAndTheirResultsAreThoseOfAChat) {
  EXPECT_EQ(messages(R"([{"role":"system","content":"s"},{"role":"user","content":"n?"},
      {"role":"assistant","content":"","thinking":"Hm.","tool_calls":[
       {"function":{"name":"find","arguments":{"n":1}}},{"function":{"name":"now"}}]},
      {"role":"tool","content":"noon","tool_name":"now"},{"role":"tool","content":"one"}])"),
            spelled_json(R"([{"role":"system","content":"s"},{"role":"user","content":"n?"},
      {"role":"assistant","reasoning_content":"Hm.","tool_calls":[
       {"id":"call00000","type":"function","function":{"name":"find","arguments":{"n":1}}},
       {"id":"call00001","type":"function","function":{"name":"now","arguments":{}}}]},
      {"role":"tool","tool_call_id":"call00001","content":"noon","name":"now"},
      {"role":"tool","tool_call_id":"call00000","content":"one","name":"find"}])"));
}

TEST(OllamaRequest, ImagesAreThePartsOfAChat) {
  // As take_images() leaves them.
  const Json expected = spelled_json(R"([{"role":"user","content":[{"type":"image"},
      {"type":"image"},{"type":"text","text":"What?"}]}])");
  EXPECT_EQ(messages(R"([{"role":"user","content":"What?","images":[{"type":"image"},{"type":"image"}]}])"), expected);
  EXPECT_EQ(
      read(R"({"prompt":"What?","images":[{"type":"image"},{"type":"image"}]})", OllamaUse::kGenerate).body["messages"],
      expected);
}

TEST(OllamaRequest, AnImageNeedsNoText) {
  const Json expected = spelled_json(R"([{"role":"user","content":[{"type":"image"}]}])");
  EXPECT_EQ(messages(R"([{"role":"user","content":"","images":[{"type":"image"}]}])"), expected);
  EXPECT_EQ(read(R"({"prompt":"","images":[{"type":"image"}]})", OllamaUse::kGenerate).body["messages"], expected);
}

TEST(OllamaRequest, ToolsMayAnswerWithImages) {
  EXPECT_EQ(messages(R"([{"role":"tool","tool_call_id":"a","content":"b","images":[{"type":"image"}]}])"),
            spelled_json(R"([{"role":"tool","tool_call_id":"a","content":[{"type":"image"},
                              {"type":"text","text":"b"}]}])"));
}

TEST(OllamaRequest, ManyCallsFindTheirResults) {
  Json list = Json::array(), calls = Json::array();
  for (int i = 0; i < 9000; ++i) calls.push_back({{"id", std::to_string(i)}, {"function", {{"name", "f"}}}});
  list.push_back({{"role", "assistant"}, {"tool_calls", std::move(calls)}});
  for (int i = 9000; i-- > 1;)
    list.push_back({{"role", "tool"}, {"content", "r"}, {"tool_call_id", std::to_string(i)}});
  list.push_back({{"role", "tool"}, {"content", "r"}, {"tool_name", "f"}});
  const auto result = read_ollama({{"messages", list}}, OllamaUse::kChat);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->body["messages"].back()["tool_call_id"], "0");
  while (list.size() <= 10'000) list.push_back({{"role", "user"}, {"content", "a"}});
  const auto refused = read_ollama({{"messages", list}}, OllamaUse::kChat);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "'messages' has 10001 entries, but may have at most 10000");
}

TEST(OllamaRequest, PromptsAreChatsUnlessTheyAreRaw) {
  EXPECT_EQ(read(R"({"prompt":"a","system":"s"})", OllamaUse::kGenerate).body["messages"],
            spelled_json(R"([{"role":"system","content":"s"},{"role":"user","content":"a"}])"));
  const OllamaRequest raw = read(R"({"prompt":"a","raw":true,"options":{"num_predict":3}})", OllamaUse::kGenerate);
  EXPECT_TRUE(raw.is_raw);
  EXPECT_EQ(raw.body, spelled_json(R"({"stream":true,"max_tokens":3,"prompt":"a"})"));
}

TEST(OllamaRequest, WhoAsksNothingLoadsTheModel) {
  EXPECT_TRUE(read("{}", OllamaUse::kGenerate).is_empty);
  EXPECT_TRUE(read(R"({"messages":[]})", OllamaUse::kChat).is_empty);
  EXPECT_FALSE(read("{}", OllamaUse::kChat).is_unload);
  EXPECT_TRUE(read(R"({"keep_alive":0})", OllamaUse::kChat).is_unload);
}

TEST(OllamaRequest, SaysWhichFieldIsWrong) {
  for (const auto& [more, param, part] : std::vector<std::tuple<std::string, std::string, std::string>>{
           {R"("model":1)", "model", "must be a string"},
           {R"("stream":"no")", "stream", "must be true or false"},
           {R"("options":[])", "options", "must be an object"},
           {R"("options":{"stop":[""]})", "options.stop", "must not hold an empty string"},
           {R"("options":{"num_predict":-3})", "options.num_predict", "between -2 and"},
           {R"("options":{"num_ctx":0})", "options.num_ctx", "between 1 and"},
           {R"("format":"xml")", "format", "must be \"json\" or a JSON schema"},
           {R"("format":[])", "format", "must be \"json\" or a JSON schema"},
           {R"("think":"deep")", "think", "true, false or one of low, medium, high, max"},
           {R"("think":1)", "think", "true, false or one of"},
           {R"("keep_alive":true)", "keep_alive", "must be a number of seconds"},
           {R"("messages":{})", "messages", "must be an array"},
           {R"("messages":[1])", "messages", "'messages[0]' must be an object"},
           {R"("messages":[{"role":"developer","content":"a"}])", "messages", "'messages[0].role' must be"},
           {R"("messages":[{"role":"user","content":[]}])", "messages", "'messages[0].content' must be a string"},
           {R"("messages":[{"role":"user","content":"a","images":"x"}])", "messages", "'messages[0].images' must be"},
           {R"("messages":[{"role":"user","content":"a","images":[1]}])", "messages", "'messages[0].images' must be"},
           {R"("messages":[{"role":"assistant","tool_calls":{}}])", "messages", "tool_calls' must be an array"},
           {R"("messages":[{"role":"assistant","tool_calls":[{"function":{}}]}])", "messages",
            "'messages[0].tool_calls[0].function.name' must be"},
           {R"("messages":[{"role":"assistant","tool_calls":[{"function":{"name":"a","arguments":"{}"}}]}])",
            "messages", "function.arguments' must be an object"}}) {
    expect_refused(fmt::format("{{{}}}", more), OllamaUse::kChat, param, part);
  }
  for (const auto& [more, param, part] : std::vector<std::tuple<std::string, std::string, std::string>>{
           {R"("prompt":["a"])", "prompt", "must be a string"},
           {R"("prompt":"a","suffix":"b")", "suffix", "fills no gaps"},
           {R"("prompt":"a","template":"{{ .Prompt }}")", "template", "\"raw\": true"},
           {R"("prompt":"a","context":[1])", "context", "/api/chat"},
           {R"("prompt":"a","raw":1)", "raw", "must be true or false"},
           {R"("prompt":"a","raw":true,"system":"s")", "system", "put it into the prompt"},
           {R"("prompt":"a","raw":true,"images":["x"])", "images", "with \"raw\": true"},
           {R"("prompt":"a","raw":true,"logprobs":true)", "logprobs", "/v1/completions"},
           {R"("prompt":"a","images":"x")", "images", "'images' must be an array"}}) {
    expect_refused(fmt::format("{{{}}}", more), OllamaUse::kGenerate, param, part);
  }
  EXPECT_EQ(in_ollama_terms(bad_field("response_format", "'response_format': x")).message, "'format': x");
}

}  // namespace
}  // namespace commissure
