#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/api_service.h"
#include "api/generation_run.h"
#include "http/http_server.h"
#include "support/fake_engine.h"
#include "support/raw_client.h"

namespace commissure::testing {

/// JSON that a test spells.
inline Json spelled_json(std::string_view text) {
  auto parsed = parse_json(text);
  EXPECT_TRUE(parsed) << text;
  return parsed ? *parsed : Json();
}

/// A model that begins with a thought and may call functions, as Hermes spells calls.
inline void think_and_call(FakeEngine& engine) {
  const std::string source = "</think>{% if tools %}<tool_call>{% endif %}<think>{{ '\n' }}";
  engine.mutable_model().chat_template = ChatTemplate::compile(source).value();
  engine.mutable_model().answer_syntax = answer_syntax(source);
}

/// Two calls behind a text, and the functions' names: find, now.
inline constexpr std::string_view kTwoCalls =
    "Let me see.\n<tool_call>\n{\"name\": \"find\", \"arguments\": {\"n\": 1, \"of\": \"e\\n\"}}\n</tool_call>\n"
    "<tool_call>\n{\"name\": \"now\"}\n</tool_call>";

/// The API's routes on a real socket, with an engine that follows `script_`.
class ServedApi : public ::testing::Test {
 protected:
  void start(ApiOptions options = {}) {
    server_.reset();
    service_ = std::make_unique<ApiService>(engine_, std::move(options));
    auto started = commissure::HttpServer::start({.port = 0}, service_->handler());
    ASSERT_TRUE(started);
    server_ = std::move(*started);
  }
  ~ServedApi() override { server_.reset(); }

  std::string ask(std::string_view method, std::string_view path, std::string_view body,
                  std::string_view headers = "") {
    RawClient client(server_->port());
    client.send(http_request(method, path, body, headers));
    return client.read_response();
  }
  /// The body of an answer that is JSON.
  static Json json_of(const std::string& response) { return parse_json(body_of(response)).value_or(Json()); }
  /// A POST whose answer is a stream, to its end.
  std::string stream_of(std::string_view path, std::string_view body) {
    RawClient client(server_->port());
    client.send(http_request("POST", path, body));
    return client.read_until("\r\n0\r\n\r\n");
  }

  FakeScript script_;
  FakeEngine engine_{[this](const GenerationRequest&) { return script_; }};
  std::unique_ptr<ApiService> service_;
  std::unique_ptr<commissure::HttpServer> server_;
};

/// An answer's events, one for each piece, of which the last ends it.
inline std::vector<GenerationEvent> answer_events(const std::vector<std::string>& pieces, GenerationEvent last = {}) {
  std::vector<GenerationEvent> all;
  for (const std::string& piece : pieces) all.emplace_back().text = piece;
  if (!last.finish) last.finish = FinishReason::kStop;
  last.text = std::exchange(all.back().text, {});
  all.back() = std::move(last);
  int n_tokens = 0;
  for (GenerationEvent& event : all) {
    event.usage = {.prompt_tokens = 10, .completion_tokens = ++n_tokens, .cached_tokens = 4};
  }
  return all;
}

/// The data of a stream's server-sent events, each of which is named as its type is.
inline std::vector<Json> named_events(std::string text) {
  std::vector<Json> all;
  while (!text.empty()) {
    const std::size_t name = text.find('\n'), end = text.find("\n\n");
    EXPECT_EQ(text.substr(0, 7), "event: ");
    EXPECT_EQ(text.substr(name, 7), "\ndata: ");
    all.push_back(parse_json(text.substr(name + 7, end - name - 7)).value());
    EXPECT_EQ(all.back()["type"], text.substr(7, name - 7));
    text.erase(0, end + 2);
  }
  return all;
}

/// What a stream of this answer says.
inline std::string streamed_text(AnswerFormat& format, const std::vector<GenerationEvent>& events) {
  std::string text;
  for (const GenerationEvent& event : events) text += format.stream_event(0, event, event.usage);
  return text + format.stream_end(events.back().usage);
}

/// The same in one piece.
inline Json whole_answer(AnswerFormat& format, const std::vector<GenerationEvent>& events) {
  for (const GenerationEvent& event : events) format.collect(0, event);
  return format.whole(events.back().usage);
}

}  // namespace commissure::testing
