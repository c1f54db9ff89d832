#include "api/ollama_error.h"
#include "support/served_api.h"

namespace commissure {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view kChat = R"({"model":"fake/model","messages":[{"role":"user","content":"hi"}]})";
constexpr std::string_view kWhole =
    R"({"model":"fake/model:latest","stream":false,"messages":[{"role":"user","content":"hi"}]})";
constexpr std::string_view kTools = R"({"model":"fake/model","tools":[{"type":"function","function":{"name":"find"}}],
    "messages":[{"role":"user","content":"hi"}]})";

/// Ollama's routes.
class OllamaServiceTest : public testing::ServedApi {
 protected:
  void think_and_call() {
    testing::think_and_call(engine_);
    script_.pieces = {
        "Hm", ".</think>A", " b", "<tool_call>{\"name\": \"find\", \"argu", "ments\": {\"n\": 1}}", "</tool_call>"};
  }
  /// The lines of a stream, which is taken out of its chunks.
  std::vector<Json> lines(std::string_view path, std::string_view body) {
    std::string text = stream_of(path, body);
    EXPECT_NE(text.find("content-type: application/x-ndjson\r\n"), std::string::npos) << text;
    std::vector<Json> all;
    for (std::size_t at = 0; (at = text.find("{\"", at)) != std::string::npos;) {
      const std::size_t end = text.find('\n', at);
      auto line = parse_json(text.substr(at, end - at));
      EXPECT_TRUE(line) << text.substr(at, end - at);
      if (line) all.push_back(std::move(*line));
      at = end;
    }
    return all;
  }
  static std::string error_of(const std::string& response, int status) {
    EXPECT_EQ(std::atoi(response.c_str() + 9), status) << response;
    const Json body = json_of(response);
    EXPECT_EQ(body.size(), 1u) << response;
    return body.value("error", "");
  }
};

TEST_F(OllamaServiceTest, AnswersInOnePiece) {
  start();
  Json answer = json_of(ask("POST", "/api/chat", kWhole));
  EXPECT_EQ(answer["model"], "fake/model:latest");  // as the client calls it
  EXPECT_EQ(answer["message"], parse_json(R"({"role":"assistant","content":"Hello world"})").value());
  EXPECT_EQ(answer["done"], true);
  EXPECT_EQ(answer["done_reason"], "stop");
  EXPECT_EQ(answer["eval_count"], 3);
  for (const char* name : {"total_duration", "load_duration", "prompt_eval_duration", "eval_duration"})
    EXPECT_TRUE(answer[name].is_number_integer() && answer[name] >= 0) << name;
  EXPECT_GE(answer["total_duration"], answer["prompt_eval_duration"]);
  const Json generated = json_of(ask("POST", "/api/generate", R"({"prompt":"hi","stream":false})"));
  EXPECT_EQ(generated["response"], "Hello world");
  EXPECT_EQ(generated["prompt_eval_count"], answer["prompt_eval_count"]);
  const Json raw = json_of(ask("POST", "/api/generate", R"({"prompt":"hi","raw":true,"stream":false})"));
  EXPECT_EQ(raw["response"], "Hello world");
  EXPECT_LT(raw["prompt_eval_count"], answer["prompt_eval_count"]);
}

TEST_F(OllamaServiceTest, StreamsLines) {
  start();
  const auto all = lines("/api/chat", kChat);
  ASSERT_EQ(all.size(), 4u);
  std::string text;
  for (const Json& line : all) text += line["message"]["content"].get<std::string>();
  EXPECT_EQ(text, "Hello world");
  for (std::size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i]["done"], i + 1 == all.size());
  EXPECT_EQ(all.back()["done_reason"], "stop");
  EXPECT_EQ(lines("/api/generate", R"({"prompt":"hi"})")[0]["response"], "Hello");
}

TEST_F(OllamaServiceTest, ThoughtsAndCallsAreApart) {
  think_and_call();
  start();
  std::string thought, content;
  Json calls = Json::array();
  for (const Json& line : lines("/api/chat", kTools)) {
    thought += line["message"].value("thinking", "");
    content += line["message"].value("content", "");
    for (const Json& call : line["message"].value("tool_calls", Json::array())) calls.push_back(call);
  }
  EXPECT_EQ(thought, "Hm.");
  EXPECT_EQ(content, "A b");
  EXPECT_EQ(calls, parse_json(R"([{"function":{"name":"find","arguments":{"n":1}}}])").value());
  Json body = parse_json(kTools).value();
  body["stream"] = false;
  const Json whole = json_of(ask("POST", "/api/chat", dump_json(body)))["message"];
  EXPECT_EQ(whole["content"], content);
  EXPECT_EQ(whole["thinking"], thought);
  EXPECT_EQ(whole["tool_calls"], calls);
  script_.pieces = {"</think><tool_call>{\"name\": \"find\", \"arguments\": {\"n"};  // nobody shall run half of one
  EXPECT_FALSE(json_of(ask("POST", "/api/chat", dump_json(body)))["message"].contains("tool_calls"));
}

TEST_F(OllamaServiceTest, TellsOfItsModels) {
  start({.model_aliases = {"alias:7b"}, .version = "1.2.3"});
  EXPECT_EQ(json_of(ask("GET", "/api/version", ""))["version"], "1.2.3");
  const Json tags = json_of(ask("GET", "/api/tags", ""))["models"];
  ASSERT_EQ(tags.size(), 2u);
  EXPECT_EQ(tags[0]["name"], "fake/model:latest");
  EXPECT_EQ(tags[1]["model"], "alias:7b");
  EXPECT_EQ(tags[0]["digest"].get<std::string>().size(), 64u);
  EXPECT_EQ(json_of(ask("GET", "/api/ps", ""))["models"][0]["context_length"], engine_.model().context_length);
  for (const char* body : {R"({"model":"fake/model"})", R"({"name":"alias:7b"})", R"({"model":"fake/model:latest"})"}) {
    const Json shown = json_of(ask("POST", "/api/show", body));
    EXPECT_EQ(shown["model_info"]["commissure.context_length"], engine_.model().context_length) << body;
    EXPECT_EQ(shown["capabilities"][0], "completion");
  }
  error_of(ask("POST", "/api/show", R"({"model":"other"})"), 404);
  testing::RawClient client(server_->port());  // as Ollama's clients see whether anybody is there
  client.send(testing::http_request("HEAD", "/", ""));
  EXPECT_EQ(client.read_until("\r\n\r\n").substr(9, 3), "200");
}

TEST_F(OllamaServiceTest, PullsWhatItServes) {
  start();
  EXPECT_EQ(testing::body_of(ask("POST", "/api/pull", R"({"model":"fake/model"})")),
            "{\"status\":\"pulling manifest\"}\n{\"status\":\"success\"}\n");
  EXPECT_EQ(json_of(ask("POST", "/api/pull", R"({"name":"fake/model","stream":false})"))["status"], "success");
  EXPECT_NE(error_of(ask("POST", "/api/pull", R"({"model":"llama3"})"), 404).find("'llama3'"), std::string::npos);
}

TEST_F(OllamaServiceTest, WhoAsksNothingHearsThatTheModelIsLoaded) {
  start();
  EXPECT_EQ(json_of(ask("POST", "/api/generate", R"({"model":"fake/model"})"))["done_reason"], "load");
  const Json chat = json_of(ask("POST", "/api/chat", R"({"model":"fake/model","keep_alive":0})"));
  EXPECT_EQ(chat["done_reason"], "unload");
  EXPECT_EQ(chat["message"]["content"], "");
  error_of(ask("POST", "/api/generate", R"({"model":"other"})"), 404);
}

TEST_F(OllamaServiceTest, RefusesInTheDialect) {
  start();
  for (const char* path : {"/api/embed", "/api/embeddings", "/api/push", "/api/create", "/api/copy"})
    error_of(ask("POST", path, R"({"model":"fake/model"})"), 501);
  error_of(ask("DELETE", "/api/delete", R"({"model":"fake/model"})"), 501);
  error_of(ask("GET", "/api/chat", ""), 405);
  error_of(ask("GET", "/api/nothing", ""), 404);
  error_of(ask("POST", "/api/chat", "{"), 400);
  const auto chat = [&](std::string_view more) {
    return ask("POST", "/api/chat", fmt::format(R"({{"messages":[{{"role":"user","content":"hi"}}],{}}})", more));
  };
  EXPECT_NE(error_of(chat(R"("options":{"temperature":3})"), 400).find("'temperature' is 3"), std::string::npos);
  EXPECT_NE(error_of(chat(R"("options":{"top_k":0.5})"), 400).find("'top_k' is 0.5"), std::string::npos);
  EXPECT_NE(error_of(chat(R"("format":{"type":"nothing"})"), 400).find("'format'"), std::string::npos);
  error_of(chat(R"("model":"other")"), 404);
  script_.refuse = Error(Code::kResourceExhausted, "the queue is full");
  EXPECT_EQ(error_of(ask("POST", "/api/chat", kChat), 429), "the queue is full");
}

TEST_F(OllamaServiceTest, LateFailuresAreLines) {
  start();
  script_.error = Error(Code::kUnavailable, "stage b went away");
  const auto all = lines("/api/chat", kChat);
  EXPECT_EQ(all.back(), parse_json(R"({"error":"stage b went away"})").value());
}

TEST_F(OllamaServiceTest, LinesEndNowhereElse) {
  EXPECT_EQ(ollama_line({{"a", "\u2028b\u2029\u0085\u2028"}}), "{\"a\":\"\\u2028b\\u2029\\u0085\\u2028\"}\n");
  start();
  script_.pieces = {"a\u2028b"};
  EXPECT_EQ(lines("/api/chat", kChat)[0]["message"]["content"], "a\u2028b");
  EXPECT_EQ(stream_of("/api/chat", kChat).find("\u2028"), std::string::npos);
  script_.error = Error(Code::kUnavailable, "stage\u0085b\u2029");
  EXPECT_EQ(lines("/api/chat", kChat).back()["error"], "stage\u0085b\u2029");
  const std::string failed = stream_of("/api/chat", kChat);
  EXPECT_EQ(failed.find("\u2029"), std::string::npos);
  EXPECT_EQ(failed.find("\u0085"), std::string::npos);
}

TEST_F(OllamaServiceTest, BreaksTheSilenceWithSpaces) {
  start({.ping_interval = 10ms});
  script_.delay = 30ms;
  EXPECT_EQ(lines("/api/chat", kChat).size(), 4u);
}

TEST(OllamaTime, IsThatOfRfc3339) {
  const auto moment = std::chrono::system_clock::time_point(std::chrono::seconds(951'827'696) + 5ms);
  EXPECT_EQ(ollama_time(moment), "2000-02-29T12:34:56.005000000Z");
}

}  // namespace
}  // namespace commissure
