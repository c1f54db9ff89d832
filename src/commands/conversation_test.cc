#include "commands/conversation.h"

#include <gtest/gtest.h>

#include "commands/up_text.h"
#include "support/http_server.h"

namespace commissure {
namespace {

/// A server that answers every path with `body`.
testing::HttpServer server_of(const std::string& body, int status = 200) {
  return testing::HttpServer([=](const testing::ServedRequest&) {
    return testing::ServedReply{.status = status, .headers = {{"Content-Type", "application/json"}}, .body = body};
  });
}

bool chats(const std::string& props, int status = 200) {
  const testing::HttpServer server = server_of(props, status);
  return can_chat({.url = server.url(""), .api_key = ""}).value();
}

TEST(CanChat, IsWhatTheServerSaysOfItsTemplate) {
  EXPECT_TRUE(chats(R"({"has_chat_template":true})"));
  EXPECT_FALSE(chats(R"({"has_chat_template":false})"));
  EXPECT_TRUE(chats("{}")) << "other servers do not say: the request itself will tell";
  EXPECT_TRUE(chats(R"({"error":{"message":"no such page"}})", 404));
  EXPECT_FALSE(can_chat({.url = "http://127.0.0.1:1", .api_key = ""}).has_value()) << "nobody is there";
}

TEST(ServedModel, IsTheFirstThatIsListed) {
  const auto name_of = [](const std::string& body) {
    const testing::HttpServer server = server_of(body);
    return served_model({.url = server.url(""), .api_key = ""});
  };
  EXPECT_EQ(name_of(R"({"data":[{"id":"m"},{"id":"alias"}]})"), "m");
  for (const char* other : {"{}", R"({"data":[]})", R"({"data":[{"id":7}]})", R"({"data":3})", "no json"})
    EXPECT_EQ(name_of(other), "") << other;
}

TEST(BaseRequest, HasOnlyWhatWasSaid) {
  EXPECT_EQ(base_request({}), Json::object()) << "the server's defaults stay";
  AnswerOptions options;
  options.max_tokens = 5;
  options.temperature = 0.0;
  options.seed = 9;
  EXPECT_EQ(base_request(options), (Json{{"max_tokens", 5}, {"temperature", 0.0}, {"seed", 9}}));
}

TEST(SpeedLine, IsOfTheTokensBehindTheFirst) {
  AnswerSummary summary;
  summary.usage = {{"completion_tokens", 11}};
  summary.first_token_seconds = 0.5;
  summary.seconds = 2.5;
  EXPECT_EQ(speed_line(summary), "11 tokens in 2.5 s (5.0 tok/s), first after 0.50 s");
  summary.usage = {{"completion_tokens", 1}};
  EXPECT_EQ(speed_line(summary), "1 tokens in 2.5 s, first after 0.50 s") << "one token has no rate";
  summary.usage = nullptr;
  EXPECT_EQ(speed_line(summary), "0 tokens in 2.5 s, first after 0.50 s");
}

TEST(CutNote, IsForAnAnswerThatWasCut) {
  AnswerSummary summary;
  summary.finish_reason = "stop";
  EXPECT_EQ(cut_note(summary), "");
  summary.finish_reason = "length";
  EXPECT_NE(cut_note(summary).find("--max-tokens"), std::string::npos);
}

/// What `up` says of a chain that listens at `host`; the model has a chat template and the chain a page, or neither.
std::string said(const std::string& host, const std::string& key, bool has_template,
                 const std::string& name = "local") {
  const testing::HttpServer server = server_of(has_template ? "{}" : R"({"has_chat_template":false})");
  LocalState state;
  state.chain.name = name;
  state.chain.model_name = "toy";
  state.chain.host = host;
  return endpoint_text({.url = server.url(""), .api_key = key}, state, {.context = 2048, .kv = {.n_blocks = 64}},
                       2'500'000, has_template);
}

TEST(EndpointText, ShowsACallThatWorks) {
  const std::string chat = said("127.0.0.1", "", true);
  EXPECT_NE(chat.find("Serving toy at http://127.0.0.1:"), std::string::npos) << chat;
  EXPECT_NE(chat.find("Context 2048 tokens; KV cache for 4096 tokens of all streams together, 2.5 MB\n"),
            std::string::npos)
      << chat;
  EXPECT_NE(chat.find("\nIn a browser:  http://127.0.0.1:"), std::string::npos) << chat;
  EXPECT_NE(chat.find("/v1/chat/completions -H"), std::string::npos) << chat;
  EXPECT_EQ(chat.find("Authorization"), std::string::npos) << chat;
  EXPECT_NE(chat.find("Stop it:  commissure down\n"), std::string::npos) << chat;
  const std::string base = said("127.0.0.1", "secret", false, "two");
  EXPECT_NE(base.find("/v1/completions -H"), std::string::npos) << base;
  EXPECT_NE(base.find("{\"prompt\":"), std::string::npos) << base;
  EXPECT_EQ(base.find("browser"), std::string::npos) << base;
  EXPECT_NE(base.find("Bearer $COMMISSURE_API_KEY"), std::string::npos) << base;
  EXPECT_EQ(base.find("secret"), std::string::npos) << "the key itself is never shown";
  EXPECT_NE(base.find("commissure down --name two\n"), std::string::npos) << base;
}

TEST(EndpointText, WarnsWhereOthersReachItWithoutAKey) {
  const auto warns = [](const std::string& host, const std::string& key) {
    return said(host, key, true).find("Whoever reaches this machine can use it") != std::string::npos;
  };
  for (const char* host : {"127.0.0.1", "127.8.9.1", "::1", "localhost"}) EXPECT_FALSE(warns(host, "")) << host;
  for (const char* host : {"0.0.0.0", "::", "192.168.1.7", "127.evil.example"}) EXPECT_TRUE(warns(host, "")) << host;
  EXPECT_FALSE(warns("0.0.0.0", "k"));
}

}  // namespace
}  // namespace commissure
