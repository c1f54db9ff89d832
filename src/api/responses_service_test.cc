#include "support/served_api.h"

namespace commissure {
namespace {

constexpr std::string_view kPath = "/v1/responses";
constexpr std::string_view kBody = R"({"model":"fake/model","max_output_tokens":9,"input":"hi"})";
constexpr std::string_view kStream = R"({"model":"fake/model","max_output_tokens":9,"stream":true,"input":"hi"})";

/// The route of the Responses API.
class ResponsesServiceTest : public testing::ServedApi {
 protected:
  /// Checks a refusal's status and shape; gives its error.
  static Json refusal(const std::string& response, int status) {
    EXPECT_EQ(std::atoi(response.c_str() + 9), status) << response;
    const Json error = json_of(response).value("error", Json::object());
    EXPECT_EQ(error.size(), 4u) << response;
    return error;
  }
};

TEST_F(ResponsesServiceTest, AnswersInOnePiece) {
  start();
  for (const std::string_view path : {"/v1/responses", "/responses", "/v1/v1/responses"}) {
    const std::string response = ask("POST", path, kBody);
    const Json answer = json_of(response);
    EXPECT_EQ(answer["object"], "response") << response;
    EXPECT_EQ(answer["model"], "fake/model");
    EXPECT_EQ(answer["output"][0]["content"][0]["text"], "Hello world");
    EXPECT_EQ(answer["usage"]["output_tokens"], 3);
    EXPECT_EQ(answer["temperature"], 1.0);  // what holds where nobody says
    EXPECT_EQ(answer["max_output_tokens"], 9);
    EXPECT_EQ(response.find("left-out"), std::string::npos);
  }
  EXPECT_EQ(engine_.last_request().max_tokens, 9);
  EXPECT_EQ(json_of(ask("POST", kPath, R"({"input":"hi","temperature":0.25})"))["temperature"], 0.25);
}

TEST_F(ResponsesServiceTest, StreamsNamedEvents) {
  start();
  const std::string text = stream_of(kPath, kStream);
  EXPECT_NE(text.find("content-type: text/event-stream"), std::string::npos) << text;
  std::size_t at = 0;
  for (const std::string_view event :
       {"created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.delta",
        "output_text.delta", "output_text.done", "content_part.done", "output_item.done", "completed"}) {
    at = text.find("event: response.", at);
    ASSERT_NE(at, std::string::npos) << text;
    at += 16;
    EXPECT_EQ(text.substr(at, event.size() + 1), std::string(event) + "\n") << text;
  }
  EXPECT_EQ(text.find("event: ", at), std::string::npos) << text;
}

TEST_F(ResponsesServiceTest, SaysWhichToolsItLeftOut) {
  start();
  const std::string_view members = R"("input":"hi","tools":[{"type":"web_search"},{"type":"mcp","server_label":"x"}])";
  const std::string_view said = "\r\nx-commissure-left-out: tools: web_search, mcp\r\n";
  EXPECT_NE(ask("POST", kPath, fmt::format("{{{}}}", members)).find(said), std::string::npos);
  EXPECT_NE(stream_of(kPath, fmt::format(R"({{{},"stream":true}})", members)).find(said), std::string::npos);
}

TEST_F(ResponsesServiceTest, RefusesUnderItsOwnNames) {
  start();
  refusal(ask("GET", kPath, ""), 405);
  EXPECT_EQ(refusal(ask("POST", kPath, R"({"input":"hi","model":"other"})"), 404)["code"], "model_not_found");
  EXPECT_EQ(refusal(ask("GET", "/v1/responses/resp_1", ""), 404)["code"], "not_found");
  for (const auto& [body, param, part] : std::vector<std::tuple<std::string, std::string, std::string>>{
           {R"({"input":"hi","previous_response_id":"resp_1"})", "previous_response_id", "nothing is kept"},
           {R"({"input":"hi","temperature":3})", "temperature", "'temperature' is 3"},
           {R"({"input":"hi","stream":1})", "stream", "'stream' must be"},
           {R"({"input":"hi","parallel_tool_calls":1})", "parallel_tool_calls", "must be true or false"},
           {R"({"input":"hi","tool_choice":"required"})", "tool_choice", "asks for a call"},
           {fmt::format(R"({{"input":"{}"}})", std::string(5000, 'x')), "input", "maximum context length"}}) {
    const Json error = refusal(ask("POST", kPath, body), 400);
    EXPECT_EQ(error["param"], param);
    EXPECT_NE(error["message"].get<std::string>().find(part), std::string::npos) << error;
  }
  script_.refuse = Error(Code::kResourceExhausted, "the queue is full");
  EXPECT_EQ(refusal(ask("POST", kPath, kStream), 429)["type"], "rate_limit_error");
}

TEST_F(ResponsesServiceTest, LateFailuresAreEvents) {
  start();
  script_.error = Error(Code::kUnavailable, "stage b went away");
  const std::string text = stream_of(kPath, kStream);
  EXPECT_NE(text.find("event: response.failed\n"), std::string::npos) << text;
  EXPECT_EQ(text.find("response.completed"), std::string::npos) << text;
}

}  // namespace
}  // namespace commissure
