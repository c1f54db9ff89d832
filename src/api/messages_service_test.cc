#include <gtest/gtest.h>

#include "support/served_api.h"

namespace commissure {
namespace {

using namespace std::chrono_literals;
using testing::body_of;
using testing::http_request;
using testing::RawClient;

constexpr std::string_view kPath = "/v1/messages";
constexpr std::string_view kBody =
    R"({"model":"fake/model","max_tokens":9,"messages":[{"role":"user","content":"hi"}]})";
constexpr std::string_view kStream =
    R"({"model":"fake/model","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hi"}]})";

class MessagesServiceTest : public testing::ServedApi {
 protected:
  std::string stream() { return stream_of(kPath, kStream); }
  /// Checks a refusal's status and body; gives its message.
  static std::string refusal(const std::string& response, int status, std::string_view type) {
    EXPECT_EQ(std::atoi(response.c_str() + 9), status) << response;
    const Json body = parse_json(body_of(response)).value_or(Json());
    EXPECT_EQ(body["type"], "error") << response;
    EXPECT_EQ(body["error"]["type"], type) << response;
    EXPECT_EQ(body["error"].size(), 2u) << response;
    EXPECT_NE(response.find("\r\nrequest-id: " + body["request_id"].get<std::string>()), std::string::npos) << response;
    return body["error"]["message"];
  }
};

TEST_F(MessagesServiceTest, AnswersInOnePiece) {
  start();
  for (const std::string_view path : {"/v1/messages", "/messages", "/v1/v1/messages", "/v1/messages?beta=true"}) {
    const std::string response =
        ask("POST", path, kBody, "anthropic-version: 2023-06-01\r\nanthropic-beta: some-2026-01-01,other\r\n");
    const Json answer = parse_json(body_of(response)).value_or(Json());
    EXPECT_EQ(answer["type"], "message") << response;
    EXPECT_EQ(answer["model"], "fake/model");
    EXPECT_EQ(answer["content"], parse_json(R"([{"type":"text","text":"Hello world"}])").value());
    EXPECT_EQ(answer["stop_reason"], "end_turn");
    EXPECT_EQ(answer["usage"]["output_tokens"], 3);
    EXPECT_NE(response.find("\r\nrequest-id: req_"), std::string::npos);
  }
  EXPECT_EQ(engine_.last_request().max_tokens, 9);
}

TEST_F(MessagesServiceTest, StreamsNamedEvents) {
  start();
  const std::string text = stream();
  std::size_t at = 0;
  for (const std::string_view event :
       {"message_start", "content_block_start", "ping", "content_block_delta", "content_block_delta",
        "content_block_delta", "content_block_stop", "message_delta", "message_stop"}) {
    at = text.find("event: ", at);
    ASSERT_NE(at, std::string::npos) << text;
    at += 7;
    EXPECT_EQ(text.substr(at, event.size() + 1), std::string(event) + "\n") << text;
  }
  EXPECT_EQ(text.find("event: ", at), std::string::npos) << text;
  EXPECT_EQ(text.find("[DONE]"), std::string::npos) << text;
}

TEST_F(MessagesServiceTest, CountsWhatTheAnswerWouldCount) {
  start();
  const Json answer = parse_json(body_of(ask("POST", kPath, kBody))).value_or(Json());
  const Json count = parse_json(body_of(ask("POST", "/v1/messages/count_tokens",
                                            R"({"model":"fake/model","messages":[{"role":"user","content":"hi"}]})")))
                         .value_or(Json());
  EXPECT_EQ(count, (Json{{"input_tokens", answer["usage"]["input_tokens"]}}));
  const std::string text(5000, 'x');  // more than the context
  const std::string body = fmt::format(R"({{"messages":[{{"role":"user","content":"{}"}}]}})", text);
  EXPECT_GT(
      parse_json(body_of(ask("POST", "/v1/messages/count_tokens", body))).value_or(Json())["input_tokens"].get<int>(),
      5000);
  refusal(ask("POST", "/v1/messages/count_tokens", R"({"messages":[]})"), 400, "invalid_request_error");
  refusal(ask("POST", "/v1/messages/count_tokens", R"({"model":"other","messages":[{"role":"user","content":"a"}]})"),
          404, "not_found_error");
  const std::string huge(1 << 20, 'x');
  EXPECT_NE(refusal(ask("POST", "/v1/messages/count_tokens",
                        fmt::format(R"({{"messages":[{{"role":"user","content":"{}"}}]}})", huge)),
                    400, "invalid_request_error")
                .find("1048576"),
            std::string::npos);
}

TEST_F(MessagesServiceTest, RefusesInTheDialect) {
  start({.api_keys = {"key"}});
  constexpr std::string_view kKey = "X-Api-Key: key\r\n";
  refusal(ask("POST", kPath, kBody), 401, "authentication_error");
  EXPECT_EQ(ask("POST", kPath, kBody, kKey).substr(9, 3), "200");
  EXPECT_EQ(ask("POST", kPath, kBody, "Authorization: Bearer key\r\n").substr(9, 3), "200");
  refusal(ask("GET", kPath, "", kKey), 405, "invalid_request_error");
  refusal(ask("POST", "/v1/messages/batches", "{}", kKey), 404, "not_found_error");
  refusal(ask("POST", kPath, "{", kKey), 400, "invalid_request_error");
  refusal(ask("POST", kPath, "[]", kKey), 400, "invalid_request_error");
  refusal(ask("POST", kPath, kBody, "X-Api-Key: key\r\nContent-Encoding: br\r\n"), 415, "invalid_request_error");
  const auto post = [&](std::string_view body) { return ask("POST", kPath, body, kKey); };
  EXPECT_EQ(refusal(post(R"({"messages":[{"role":"user","content":"hi"}]})"), 400, "invalid_request_error"),
            "'max_tokens' is missing: say how many tokens the answer may have");
  // Found by the chat, under the names that both APIs have.
  for (const auto& [more, part] : std::vector<std::pair<std::string, std::string>>{
           {R"("temperature":3)", "'temperature' is 3"},
           {R"("top_p":"a")", "'top_p' must be"},
           {R"("top_k":0.5)", "'top_k' is 0.5"},
           {R"("stream":1)", "'stream' must be"},
           {R"("model":1)", "'model' must be"},
           {R"("tool_choice":{"type":"any"})", "'tool_choice' asks for a call"},
           {R"("tools":[{"name":"a","input_schema":{}},{"name":"a","input_schema":{}}])", "two functions named 'a'"}}) {
    const std::string message =
        refusal(post(fmt::format(R"({{"max_tokens":9,"messages":[{{"role":"user","content":"hi"}}],{}}})", more)), 400,
                "invalid_request_error");
    EXPECT_NE(message.find(part), std::string::npos) << message;
  }
  refusal(post(R"({"model":"claude","max_tokens":9,"messages":[{"role":"user","content":"hi"}]})"), 404,
          "not_found_error");
  const std::string text(5000, 'x');
  EXPECT_TRUE(refusal(post(fmt::format(R"({{"max_tokens":9,"messages":[{{"role":"user","content":"{}"}}]}})", text)),
                      400, "invalid_request_error")
                  .starts_with("prompt is too long: "));
  // Other routes keep their own shape.
  EXPECT_EQ(parse_json(body_of(ask("POST", "/v1/chat/completions", "{}", kKey))).value_or(Json())["error"]["param"],
            "messages");
  EXPECT_EQ(ask("POST", "/v1/chat/completions", "{}", kKey).find("\r\nrequest-id"), std::string::npos);
}

TEST_F(MessagesServiceTest, EarlyFailuresHaveTheirStatus) {
  start();
  script_.refuse = Error(Code::kResourceExhausted, "the queue is full");
  const std::string full = ask("POST", kPath, kBody);
  refusal(full, 529, "overloaded_error");
  EXPECT_NE(full.find("\r\nretry-after: "), std::string::npos);
  script_.refuse = Error(Code::kUnavailable, "stage b is away");
  EXPECT_EQ(refusal(ask("POST", kPath, kStream), 503, "overloaded_error"), "stage b is away");
  script_.refuse = Error(Code::kDeadlineExceeded, "too late");
  refusal(ask("POST", kPath, kBody), 504, "timeout_error");
  script_.refuse = Error(Code::kInternal, "a fault");
  refusal(ask("POST", kPath, kBody), 500, "api_error");
}

TEST_F(MessagesServiceTest, LateFailuresAreEvents) {
  start();
  script_.error = Error(Code::kUnavailable, "stage b went away");
  const std::string text = stream();
  const std::size_t at = text.find("event: error\ndata: ");
  ASSERT_NE(at, std::string::npos) << text;
  const Json error = parse_json(text.substr(at + 19, text.find("\n\n", at) - at - 19)).value_or(Json());
  EXPECT_EQ(error["type"], "error");
  EXPECT_EQ(error["error"], parse_json(R"({"type":"overloaded_error","message":"stage b went away"})").value());
  EXPECT_TRUE(error["request_id"].get<std::string>().starts_with("req_"));
  EXPECT_EQ(text.find("message_stop"), std::string::npos);
}

TEST_F(MessagesServiceTest, BreaksTheSilenceWithCommentsAtFirst) {
  start({.ping_interval = 10ms});
  script_.hang = true;
  RawClient client(server_->port());
  client.send(http_request("POST", kPath, kStream));
  EXPECT_EQ(client.read_until(": keep-alive\n\n", 2).find("event: "), std::string::npos);
}

}  // namespace
}  // namespace commissure
