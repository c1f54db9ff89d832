#include "api/api_service.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <map>
#include <thread>

#include "core/index.h"
#include "http/http_server.h"
#include "support/eventually.h"
#include "support/fake_engine.h"
#include "support/raw_client.h"

namespace commissure {
namespace {

using namespace std::chrono_literals;
using testing::body_of;
using testing::FakeEngine;
using testing::FakeScript;
using testing::http_request;
using testing::RawClient;

constexpr std::string_view kChat = R"({"messages":[{"role":"user","content":"hi"}]})";
constexpr std::string_view kStream = R"({"messages":[{"role":"user","content":"hi"}],"stream":true})";

/// Stops whoever asks for the text of <bos>, as each render of the fake model's chat template does.
class HeldTokenizer final : public testing::ByteTokenizer {
 public:
  std::string_view token_text(TokenId token) const override {
    if (token.value == 256) {
      ++n_held;
      let_go.wait(false);
    }
    return ByteTokenizer::token_text(token);
  }
  mutable std::atomic<int> n_held{0};
  std::atomic<bool> let_go{false};
};

/// Of this process, at both ends.
int n_sockets() {
  int n = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code closed_since;
    n += std::filesystem::read_symlink(entry, closed_since).native().starts_with("socket:") ? 1 : 0;
  }
  return n;
}

/// The whole room on a real socket, with an engine that follows `script_`.
class ApiServiceTest : public ::testing::Test {
 protected:
  void start(ApiOptions options = {}) {
    service_ = std::make_unique<ApiService>(engine_, std::move(options));
    auto started = HttpServer::start({.port = 0}, service_->handler());
    ASSERT_TRUE(started);
    server_ = std::move(*started);
  }
  ~ApiServiceTest() override { server_.reset(); }

  std::string ask(std::string_view method, std::string_view path, std::string_view body = "",
                  std::string_view headers = "") {
    RawClient client(server_->port());
    client.send(http_request(method, path, body, headers));
    return method == "HEAD" ? client.read_until("\r\n\r\n") : client.read_response();
  }
  Json ask_json(std::string_view method, std::string_view path, std::string_view body = "") {
    return parse_json(body_of(ask(method, path, body))).value_or(Json());
  }
  /// The data lines of a stream, to its end.
  std::vector<std::string> stream(std::string_view path, std::string_view body) {
    RawClient client(server_->port());
    client.send(http_request("POST", path, body));
    const std::string text = client.read_until("\r\n0\r\n\r\n");
    std::vector<std::string> lines;
    for (std::size_t at = 0; (at = text.find("data: ", at)) != std::string::npos;) {
      const std::size_t end = text.find("\n\n", at);
      lines.push_back(text.substr(at + 6, end - at - 6));
      at = end;
    }
    return lines;
  }
  static int status_of(const std::string& response) { return std::atoi(response.c_str() + 9); }
  static bool eventually(const std::function<bool()>& claim) {
    for (int i = 0; i < 500; ++i) {
      if (claim()) return true;
      std::this_thread::sleep_for(5ms);
    }
    return false;
  }

  FakeScript script_;
  FakeEngine engine_{[this](const GenerationRequest&) { return script_; }};
  std::unique_ptr<ApiService> service_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(ApiServiceTest, AnswersAChatInOnePiece) {
  start();
  const Json answer = ask_json("POST", "/v1/chat/completions", kChat);
  EXPECT_EQ(answer["object"], "chat.completion");
  EXPECT_EQ(answer["choices"][0]["message"]["content"], "Hello world");
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "stop");
  EXPECT_TRUE(answer["choices"][0]["logprobs"].is_null());
  EXPECT_EQ(answer["usage"]["completion_tokens"], 3);
  EXPECT_EQ(answer["usage"]["total_tokens"].get<int>(), answer["usage"]["prompt_tokens"].get<int>() + 3);
}

TEST_F(ApiServiceTest, StreamsRoleTextFinishAndDone) {
  start();
  const auto lines = stream("/v1/chat/completions", kStream);
  ASSERT_EQ(lines.size(), 6u);
  EXPECT_EQ(lines.back(), "[DONE]");
  std::string text;
  for (std::size_t i = 0; i + 1 < lines.size(); ++i) {
    const Json chunk = parse_json(lines[i]).value_or(Json());
    EXPECT_EQ(chunk["object"], "chat.completion.chunk");
    EXPECT_EQ(chunk["id"], parse_json(lines[0]).value_or(Json())["id"]);
    EXPECT_FALSE(chunk.contains("usage"));
    text += chunk["choices"][0]["delta"].value("content", "");
    EXPECT_EQ(chunk["choices"][0]["finish_reason"].is_null(), i + 2 < lines.size());
  }
  EXPECT_EQ(text, "Hello world");
  EXPECT_EQ(parse_json(lines[0]).value_or(Json())["choices"][0]["delta"]["role"], "assistant");
}

TEST_F(ApiServiceTest, AddsUsageWhereAsked) {
  start();
  const auto once =
      stream("/v1/chat/completions",
             R"({"messages":[{"role":"user","content":"hi"}],"stream":true,"stream_options":{"include_usage":true}})");
  const Json usage = parse_json(once[once.size() - 2]).value_or(Json());
  EXPECT_EQ(usage["choices"], Json::array());
  EXPECT_EQ(usage["usage"]["completion_tokens"], 3);
  EXPECT_TRUE(parse_json(once[0]).value_or(Json())["usage"].is_null());
  const auto always =
      stream("/v1/completions", R"({"prompt":"x","stream":true,"stream_options":{"continuous_usage_stats":true}})");
  EXPECT_EQ(parse_json(always[0]).value_or(Json())["usage"]["completion_tokens"], 1);
  EXPECT_EQ(parse_json(always[1]).value_or(Json())["usage"]["completion_tokens"], 2);
}

TEST_F(ApiServiceTest, SumsUsageOverAListOfPrompts) {
  start();
  std::string prompts = "\"p\"";
  for (int i = 0; i < 39; ++i) prompts += ",\"p\"";  // more than run at once
  const Json answer = ask_json("POST", "/v1/completions", "{\"prompt\":[" + prompts + "]}");
  ASSERT_EQ(answer["choices"].size(), 40u);
  EXPECT_EQ(answer["choices"][39]["index"], 39);
  EXPECT_EQ(answer["choices"][39]["text"], "Hello world");
  EXPECT_EQ(answer["usage"]["prompt_tokens"], 80);
  EXPECT_EQ(answer["usage"]["completion_tokens"], 120);
}

TEST_F(ApiServiceTest, GivesSeveralChoicesAndCountsThePromptOnce) {
  start();
  const Json chat = ask_json("POST", "/v1/chat/completions", R"({"messages":[{"role":"user","content":"hi"}],"n":3})");
  ASSERT_EQ(chat["choices"].size(), 3u);
  EXPECT_EQ(chat["choices"][2]["index"], 2);
  EXPECT_EQ(chat["choices"][2]["message"]["content"], "Hello world");
  EXPECT_EQ(chat["usage"]["completion_tokens"], 9);
  const Json one = ask_json("POST", "/v1/chat/completions", kChat);
  EXPECT_EQ(chat["usage"]["prompt_tokens"], one["usage"]["prompt_tokens"]);

  const Json texts = ask_json("POST", "/v1/completions", R"({"prompt":["a","b"],"n":2,"best_of":4})");
  ASSERT_EQ(texts["choices"].size(), 4u);
  EXPECT_EQ(texts["choices"][3]["index"], 3);
  EXPECT_EQ(texts["usage"]["completion_tokens"], 24);  // all that was computed
  EXPECT_EQ(texts["usage"]["prompt_tokens"], 4);
  EXPECT_EQ(ask_json("POST", "/v1/completions", R"({"prompt":"a","n":2,"best_of":1})")["error"]["param"], "best_of");
}

TEST_F(ApiServiceTest, StreamsEveryChoiceByItsIndex) {
  start();
  const auto lines =
      stream("/v1/chat/completions", R"({"messages":[{"role":"user","content":"hi"}],"n":2,"stream":true})");
  std::map<int, std::string> texts;
  std::map<int, int> n_roles, n_ends;
  for (std::size_t i = 0; i + 1 < lines.size(); ++i) {
    const Json choice = parse_json(lines[i]).value_or(Json())["choices"][0];
    const int index = choice["index"];
    texts[index] += choice["delta"].value("content", "");
    n_roles[index] += choice["delta"].contains("role") ? 1 : 0;
    n_ends[index] += choice["finish_reason"].is_null() ? 0 : 1;
  }
  const std::map<int, int> once = {{0, 1}, {1, 1}};
  EXPECT_EQ(texts, (std::map<int, std::string>{{0, "Hello world"}, {1, "Hello world"}}));
  EXPECT_EQ(n_roles, once);
  EXPECT_EQ(n_ends, once);
}

TEST_F(ApiServiceTest, EchoesScoresForLmEval) {
  start();
  const Json answer =
      ask_json("POST", "/v1/completions", R"({"prompt":[[65,66],[67]],"echo":true,"logprobs":1,"max_tokens":0})");
  EXPECT_EQ(answer["choices"][0]["text"], "AB");
  EXPECT_EQ(answer["choices"][0]["logprobs"]["token_logprobs"], (Json{nullptr, -0.5}));
  EXPECT_EQ(answer["choices"][1]["logprobs"]["tokens"], Json::array({"C"}));
}

TEST_F(ApiServiceTest, ScoresPromptsWhereAskedStreamedOrNot) {
  start();
  const Json whole = ask_json("POST", "/v1/completions", R"({"prompt":[[65,66],[67]],"prompt_logprobs":1})");
  const Json expected = {nullptr, {{"66", {{"logprob", -0.5}, {"rank", 1}, {"decoded_token", "B"}}}}};
  EXPECT_EQ(whole["choices"][0]["prompt_logprobs"], expected);
  EXPECT_EQ(whole["choices"][1]["prompt_logprobs"], Json::array({nullptr}));
  const auto lines = stream("/v1/completions", R"({"prompt":[65,66],"prompt_logprobs":1,"stream":true})");
  EXPECT_EQ(parse_json(lines[0]).value_or(Json())["choices"][0]["prompt_logprobs"], expected);
  EXPECT_EQ(lines[1].find("prompt_logprobs"), std::string::npos);

  const std::string chat = R"({"messages":[{"role":"user","content":"hi"}],"n":2,"prompt_logprobs":0)";
  const Json scores = ask_json("POST", "/v1/chat/completions", chat + "}")["prompt_logprobs"];
  EXPECT_GT(scores.size(), 2u);
  std::vector<Json> streamed;
  for (const std::string& line : stream("/v1/chat/completions", chat + R"(,"stream":true})")) {
    const Json event = parse_json(line).value_or(Json::object());
    if (event.contains("prompt_logprobs")) streamed.push_back(event["prompt_logprobs"]);
  }
  EXPECT_EQ(streamed, std::vector<Json>{scores});
}

TEST_F(ApiServiceTest, TurnsAnEarlyErrorIntoItsStatus) {
  start();
  script_.pieces = {};
  for (const auto& [code, status] : std::vector<std::pair<Code, int>>{{Code::kUnavailable, 503},
                                                                      {Code::kDeadlineExceeded, 504},
                                                                      {Code::kInternal, 500},
                                                                      {Code::kOutOfRange, 400}}) {
    script_.error = Error(code, "stage b went away");
    const std::string answer = ask("POST", "/v1/chat/completions", kStream);
    EXPECT_EQ(status_of(answer), status);
    EXPECT_NE(answer.find("stage b went away"), std::string::npos);
  }
  script_.refuse = Error(Code::kResourceExhausted, "the queue is full");
  const std::string full = ask("POST", "/v1/completions", R"({"prompt":"x"})");
  EXPECT_EQ(status_of(full), 429);
  EXPECT_NE(full.find("retry-after: "), std::string::npos);
}

TEST_F(ApiServiceTest, TurnsALateErrorIntoAnEvent) {
  start();
  script_.error = Error(Code::kUnavailable, "stage b went away");
  const auto lines = stream("/v1/chat/completions", kStream);
  EXPECT_EQ(parse_json(lines.back()).value_or(Json())["error"]["message"], "stage b went away");
  script_.error = std::nullopt;
  EXPECT_EQ(stream("/v1/chat/completions", kStream).back(), "[DONE]");
}

TEST_F(ApiServiceTest, CancelsWhenTheClientGoes) {
  start();
  script_ = {.n_events = 1'000'000, .delay = 1ms};
  RawClient streaming(server_->port());
  streaming.send(http_request("POST", "/v1/chat/completions", kStream));
  streaming.read_until("world", 3);
  streaming.close();
  EXPECT_TRUE(eventually([&] { return engine_.n_cancelled() == 1; }));
  RawClient collecting(server_->port());
  collecting.send(http_request("POST", "/v1/chat/completions", kChat));
  ASSERT_TRUE(eventually([&] { return engine_.n_running() == 1; }));
  collecting.close();
  EXPECT_TRUE(eventually([&] { return engine_.n_cancelled() == 2; }));
  EXPECT_EQ(engine_.n_running(), 0);
}

TEST_F(ApiServiceTest, CancelsTheOtherPromptsWhenOneFails) {
  start();
  script_.hang = true;
  RawClient client(server_->port());
  client.send(http_request("POST", "/v1/completions", R"({"prompt":["a","b","c"]})"));
  ASSERT_TRUE(eventually([&] { return engine_.n_running() == 3; }));
  client.close();
  EXPECT_TRUE(eventually([&] { return engine_.n_cancelled() == 3; }));
}

TEST_F(ApiServiceTest, SendsCommentsInSilenceUnlessTold) {
  start({.ping_interval = 30ms});
  script_.hang = true;
  RawClient client(server_->port());
  client.send(http_request("POST", "/v1/chat/completions", kStream));
  const std::string text = client.read_until(": keep-alive\n\n", 2);
  EXPECT_NE(text.find("text/event-stream"), std::string::npos);
  EXPECT_EQ(text.find("data:"), std::string::npos);  // no role before the first token
  RawClient quiet(server_->port());
  quiet.send(http_request("POST", "/v1/completions", R"({"prompt":"x","stream":true,"sse_ping_interval":-1})"));
  EXPECT_EQ(quiet.read_until("\n", 1, 150ms), "");
}

TEST_F(ApiServiceTest, TellsAStreamHowFarTheChainIsWhileItWakes) {
  std::atomic<bool> awake = false;
  const auto warming = [&]() -> std::optional<Json> {
    if (awake) return std::nullopt;
    return parse_json(R"({"stages":[{"stage":"a","state":"ready"},{"stage":"b","state":"loading","weight_bytes":200,
        "loaded_bytes":75},{"stage":"c","state":"cold"},{}]})")
        .value();
  };
  start({.ping_interval = 60ms, .warming = warming, .warming_interval = 30ms});
  script_.hang = true;
  RawClient client(server_->port());
  client.send(http_request("POST", "/v1/chat/completions", kStream));
  const std::string text = client.read_until(": warming a ready, b 37 %, c cold,  \n\n", 2);
  EXPECT_NE(text.find("text/event-stream"), std::string::npos) << text;
  EXPECT_EQ(text.find("data:"), std::string::npos) << "no event that nobody asked for";
  RawClient asking(server_->port());
  asking.send(
      http_request("POST", "/v1/completions",
                   R"({"prompt":"x","stream":true,"stream_options":{"include_warming":true},"sse_ping_interval":-1})"));
  const std::string events = asking.read_until("\"percent\":37", 1);
  EXPECT_NE(events.find("event: warming\ndata: {\"stages\":["), std::string::npos) << events;
  EXPECT_EQ(events.find("\n: warming"), std::string::npos) << "no comments, as it said";
  awake = true;
  EXPECT_NE(client.read_until(": keep-alive\n\n", 2).find(": keep-alive"), std::string::npos);
}

TEST_F(ApiServiceTest, GuardsEverythingButHealth) {
  start({.api_keys = {"first", "second"}});
  for (const std::string_view path : {"/v1/models", "/metrics", "/", "/nothing", "/props"}) {
    EXPECT_EQ(status_of(ask("GET", path)), 401) << path;
  }
  EXPECT_EQ(status_of(ask("POST", "/generate", R"({"prompt":"x"})")), 401);
  EXPECT_EQ(status_of(ask("POST", "/tokenize", R"({"prompt":"x"})")), 401);
  EXPECT_EQ(status_of(ask("GET", "/v1/models", "", "Authorization: Bearer firs\r\n")), 401);
  EXPECT_EQ(status_of(ask("GET", "/v1/models", "", "Authorization: first\r\n")), 401);
  EXPECT_EQ(status_of(ask("GET", "/v1/models", "", "Authorization: bearer second\r\n")), 200);
  EXPECT_EQ(status_of(ask("GET", "/v1/models", "", "X-Api-Key: first\r\n")), 200);
  EXPECT_EQ(status_of(ask("GET", "/health")), 200);
  EXPECT_EQ(status_of(ask("OPTIONS", "/v1/models")), 204);
}

TEST_F(ApiServiceTest, TakesEitherCredential) {
  start({.api_keys = {"key"}});
  for (const std::string_view headers :
       {"Authorization: Bearer an.identity.token\r\nX-Api-Key: key\r\n",
        "X-Api-Key: other\r\nAuthorization: Bearer key\r\n", "Authorization: Basic abc\r\nX-Api-Key: key\r\n",
        "Authorization: Bearer other\r\nAuthorization: Bearer key\r\n"}) {
    EXPECT_EQ(status_of(ask("GET", "/v1/models", "", headers)), 200) << headers;
  }
  EXPECT_EQ(status_of(ask("GET", "/v1/models", "", "Authorization: Bearer x\r\nX-Api-Key: y\r\n")), 401);
}

TEST_F(ApiServiceTest, TellsStrangersLittleOfItsHealth) {
  const auto status = [] {
    return parse_json(R"({"stages":[{"stage":"a","state":"ready","pid":4711,"fingerprint":"f00d"}]})").value();
  };
  start({.api_keys = {"key"}, .status = status});
  for (const bool is_well : {true, false}) {
    if (!is_well) engine_.set_health(Error(Code::kUnavailable, "stage b at 10.0.0.7 is gone"));
    const std::string stranger = ask("GET", "/health");
    EXPECT_EQ(status_of(stranger), is_well ? 200 : 503);
    EXPECT_NE(stranger.find(R"("stages":[{"stage":"a","state":"ready"}])"), std::string::npos) << stranger;
    for (const char* secret : {"4711", "f00d", "fake/model", "10.0.0.7"}) {
      EXPECT_EQ(stranger.find(secret), std::string::npos) << secret;
    }
    const std::string known = ask("GET", "/health", "", "Authorization: Bearer key\r\n");
    EXPECT_EQ(status_of(known), is_well ? 200 : 503);
    EXPECT_NE(known.find("4711"), std::string::npos) << known;
  }
}

TEST_F(ApiServiceTest, FindsTheRouteThatIsMeant) {
  start();
  for (const std::string_view path : {"/v1/models/", "//v1//models", "/models", "/v1/v1/models", "/v1//models//",
                                      "/v1/models/fake/model/", "/models/fake/model", "/v1/v1/models/fake%2Fmodel",
                                      "/v1/metrics", "/v1/live", "//health", "/v1/health/", "//"}) {
    EXPECT_EQ(status_of(ask("GET", path)), 200) << path;
  }
  for (const std::string_view path : {"/chat/completions", "/v1/v1/chat/completions", "/v1/chat/completions/",
                                      "//v1/chat/completions", "/v1/v1/v1/chat//completions"}) {
    EXPECT_EQ(status_of(ask("POST", path, kChat)), 200) << path;
  }
  EXPECT_EQ(status_of(ask("POST", "/v1/tokenize", R"({"prompt":"x"})")), 200);
  for (const std::string_view path : {"/v1", "/v2/models", "/v1/v1", "/v1models", "/v1/v1/v1/nothing"}) {
    EXPECT_EQ(status_of(ask("GET", path)), 404) << path;
  }
  server_.reset();
  start({.api_keys = {"key"}});
  for (const std::string_view path : {"//metrics", "/v1/props/", "/health/..", "/v1/metrics"}) {
    EXPECT_EQ(status_of(ask("GET", path)), 401) << path << " is no way around the key";
  }
}

TEST_F(ApiServiceTest, RefusesEncodedBodies) {
  start();
  for (const std::string_view encoding : {"gzip", "br", "deflate, gzip"}) {
    const std::string answer =
        ask("POST", "/v1/chat/completions", kChat, fmt::format("Content-Encoding: {}\r\n", encoding));
    EXPECT_EQ(status_of(answer), 415) << encoding;
    EXPECT_NE(answer.find(encoding), std::string::npos) << answer;
  }
  EXPECT_EQ(status_of(ask("POST", "/v1/chat/completions", kChat, "Content-Encoding: Identity\r\n")), 200);
}

TEST_F(ApiServiceTest, RepeatsLittleOfWhatItRefuses) {
  start();
  const std::string quoted(300'000, 'r');
  for (const std::string& body :
       {R"({"messages":[{"role":")" + quoted + R"(","content":"x"}]})",
        R"({"model":")" + quoted + R"(","messages":[]})", "{\"" + quoted + "\":1,\"" + quoted + "\":1}",
        R"({"temperature":1)" + std::string(200'000, '0') + "}"}) {
    const std::string answer = ask("POST", "/v1/chat/completions", body);
    EXPECT_GE(status_of(answer), 400);
    EXPECT_LT(answer.size(), 2000u);
  }
  EXPECT_LT(ask("GET", "/" + std::string(10'000, 'p')).size(), 2000u);
}

TEST_F(ApiServiceTest, KeepsPagesOfOtherSitesOut) {
  start();
  const auto origin = [](std::string_view value) { return fmt::format("Origin: {}\r\n", value); };
  const std::string_view body = R"({"prompt":"x"})";
  for (const std::string_view page :
       {"https://evil.example", "null", "http://127.evil.example", "http://localhost.evil.example",
        "http://127.0.0.1@evil.example", "https://test.evil.example"}) {
    const std::string read = ask("GET", "/v1/models", "", origin(page));
    EXPECT_EQ(read.find("access-control-allow-origin"), std::string::npos) << page;
    const std::string written = ask("POST", "/v1/completions", body, origin(page));
    EXPECT_EQ(status_of(written), 403) << page;
    EXPECT_NE(written.find("--cors-origins"), std::string::npos) << written;
    EXPECT_EQ(status_of(ask("POST", "/reset_prefix_cache", "", origin(page))), 403) << page;
    EXPECT_EQ(ask("OPTIONS", "/v1/completions", "", origin(page)).find("access-control-allow"), std::string::npos)
        << page;
  }
  for (const std::string_view page : {"http://localhost:3000", "http://127.0.0.1", "https://[::1]:8443", "http://test",
                                      "https://test", "http://test:80"}) {
    const std::string answer = ask("POST", "/v1/completions", body, origin(page));
    EXPECT_EQ(status_of(answer), 200) << page;
    EXPECT_NE(answer.find(fmt::format("access-control-allow-origin: {}", page)), std::string::npos) << page;
  }
  server_.reset();
  start({.api_keys = {"key"}});  // which a page of another site does not have
  const std::string answer =
      ask("POST", "/v1/completions", body, origin("https://evil.example") + "X-Api-Key: key\r\n");
  EXPECT_EQ(status_of(answer), 200);
  EXPECT_EQ(answer.find("access-control-allow-origin"), std::string::npos);
}

TEST_F(ApiServiceTest, RendersChatsBesideTheConnections) {
  const auto held = std::make_shared<HeldTokenizer>();
  start();  // looks through the vocabulary that is there
  engine_.mutable_model().tokenizer = held;
  const int n_before = n_sockets();
  const int n_workers = HttpServerOptions().n_workers;
  std::vector<std::unique_ptr<RawClient>> chats;
  for (int i = 0; i < 8; ++i) {
    chats.push_back(std::make_unique<RawClient>(server_->port()));
    const std::string_view path = i % 2 == 0 ? "/v1/chat/completions" : "/apply-template";
    chats.back()->send(http_request("POST", path, kChat));
    if (i + 1 < n_workers) continue;  // the first ones have the workers, whatever else comes
    ASSERT_TRUE(testing::eventually([&] { return held->n_held == n_workers; }));
  }
  for (int i = 0; i < 3; ++i) EXPECT_EQ(status_of(ask("GET", "/health")), 200);
  EXPECT_EQ(held->n_held, n_workers) << "eight templates render, and none on a thread that answers /health";

  for (int i = n_workers; i < 8; ++i) chats[to_size(i)]->reset();
  ASSERT_TRUE(testing::eventually([&] { return n_sockets() == n_before + 2 * n_workers; })) << "the server knows";
  held->let_go = true;
  held->let_go.notify_all();
  for (int i = 0; i < n_workers; ++i) EXPECT_EQ(status_of(chats[to_size(i)]->read_response()), 200);
  EXPECT_EQ(status_of(ask("POST", "/apply-template", kChat)), 200);
  EXPECT_EQ(held->n_held, n_workers + 1) << "of clients that left, nothing is rendered";
}

TEST(ApiService, ShortBodiesWithoutTemplatesAndWalksAreQuick) {
  const auto is_quick = [](std::string path, std::string body) {
    return ApiService::is_quick({.method = "POST", .path = std::move(path), .query = "", .body = std::move(body)});
  };
  for (const char* path :
       {"/tokenize", "/v1/tokenize", "/detokenize", "/v1/completions", "/completions", "/generate"}) {
    EXPECT_TRUE(is_quick(path, R"({"prompt":"a"})")) << path;
    EXPECT_FALSE(is_quick(path, std::string(5000, ' '))) << path;
  }
  EXPECT_FALSE(is_quick("/v1/chat/completions", "{}"));
  EXPECT_FALSE(is_quick("/apply-template", "{}"));
  EXPECT_FALSE(is_quick("/tokenize", R"({"messages":[]})"));
  EXPECT_FALSE(is_quick("/tokenize", R"({"mess\u0061ges":[]})"));
  for (const char* path : {"/v1/completions", "/completions", "/generate"}) {
    EXPECT_FALSE(is_quick(path, R"({"prompt":"a","dry_multiplier":1})")) << path;
    EXPECT_FALSE(is_quick(path, R"({"prompt":"a","dry\u005fmultiplier":1})")) << path;
    EXPECT_FALSE(is_quick(path, R"({"prompt":"a","parameters":{"dry_sequence_breakers":["x"]}})")) << path;
  }
  FakeEngine engine;
  const ApiOptions options;
  const ApiService service(engine, options);
  EXPECT_EQ(options.vocabulary->n_walks(), 1) << "so that none is left to a request";
}

TEST_F(ApiServiceTest, IsNotMistakenForAnotherHost) {
  const auto status = [&](std::string_view host, std::string_view method = "GET", std::string_view path = "/health") {
    RawClient client(server_->port());
    client.send(fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n\r\n", method, path, host));
    return status_of(client.read_response());
  };
  start({.is_local = true, .allowed_hosts = {"LLM.example", "[2001:db8::1]"}});
  for (const char* host : {"localhost", "localhost:8080", "LOCALHOST.", "127.0.0.1:1", "[::1]:8080", "[::1]",
                           "app.localhost:3000", "commissure:8080", "llm.EXAMPLE:443", "[2001:db8::1]:80", ""}) {
    EXPECT_EQ(status(host), 200) << host;
  }
  for (const char* host :
       {"evil.example", "evil.example:8080", "localhost.evil.example", "127.evil.example", "127.0.0.1.evil.example:80",
        "x.llm.example", "192.168.1.5:8080", "0.0.0.0", ":80", "[evil.example", "[2001:db8::2]", "evil.example."}) {
    EXPECT_EQ(status(host), 403) << host;
    for (const auto& [method, path] : {std::pair("POST", "/v1/completions"), std::pair("OPTIONS", "/generate"),
                                       std::pair("GET", "/metrics"), std::pair("POST", "/reset_prefix_cache")}) {
      EXPECT_EQ(status(host, method, path), 403) << host << path;
    }
  }
  RawClient client(server_->port());
  client.send("GET /health HTTP/1.1\r\nHost: evil.example:8080\r\n\r\n");
  const std::string refusal = client.read_response();
  EXPECT_NE(refusal.find("start it with --allowed-hosts evil.example, or with an API key"), std::string::npos)
      << refusal;
  EXPECT_EQ(refusal.find("access-control"), std::string::npos);

  for (ApiOptions open : {ApiOptions{.api_keys = {"key"}, .is_local = true}, ApiOptions{.is_local = false},
                          ApiOptions{.is_local = true, .allowed_hosts = {"*"}}}) {
    server_.reset();
    start(std::move(open));
    EXPECT_EQ(status("evil.example"), 200);
  }
}

TEST_F(ApiServiceTest, BoundsTheValuesOfABody) {
  start();
  const auto problem = [&](const std::string& body, std::string_view path = "/v1/completions") {
    return ask_json("POST", path, body).value("/error/message"_json_pointer, std::string());
  };
  std::string numbers, members;
  for (int i = 0; i <= 1 << 20; ++i) numbers += "1,";
  for (int i = 0; i <= 128 << 10; ++i) members += fmt::format("\"{}\":0,", i);
  EXPECT_EQ(problem(R"({"prompt":[)" + numbers + "1]}"),
            "the request body holds more than 1048576 numbers in lists; send it in several requests");
  EXPECT_EQ(problem("{" + members + R"("prompt":"a"})"),
            "the request body holds more than 131072 members, texts, lists and objects; send it in several requests");
  // What a client hides in a text that is read as JSON once more stays a text.
  const Json call = {{"function", {{"name", "f"}, {"arguments", "[" + numbers + "1]"}}}};
  const Json chat = {{"messages", {{{"role", "assistant"}, {"content", "a"}, {"tool_calls", {call}}}}}};
  EXPECT_EQ(problem(dump_json(chat), "/apply-template"), "");
}

TEST_F(ApiServiceTest, AnswersBrowsers) {
  start({.cors_origins = {"*"}});
  const std::string preflight = ask("OPTIONS", "/v1/chat/completions", "",
                                    "Origin: https://a.example\r\nAccess-Control-Request-Headers: x-stainless-os\r\n");
  EXPECT_EQ(status_of(preflight), 204);
  EXPECT_NE(preflight.find("access-control-allow-origin: https://a.example"), std::string::npos);
  EXPECT_NE(preflight.find("access-control-allow-headers: x-stainless-os"), std::string::npos);
  server_.reset();
  start({.cors_origins = {"https://b.example"}});
  EXPECT_EQ(ask("GET", "/health", "", "Origin: https://a.example\r\n").find("access-control-allow-origin"),
            std::string::npos);
  EXPECT_NE(ask("GET", "/health", "", "Origin: https://b.example\r\n").find("access-control-allow-origin"),
            std::string::npos);
}

TEST_F(ApiServiceTest, RefusesUnknownPathsMethodsAndBodies) {
  start();
  EXPECT_EQ(status_of(ask("GET", "/nothing")), 404);
  const std::string wrong = ask("GET", "/v1/chat/completions");
  EXPECT_EQ(status_of(wrong), 405);
  EXPECT_NE(wrong.find("allow: POST, OPTIONS"), std::string::npos);
  for (const std::string_view body : {"", "{", "[]", "\"x\"", "{\"messages\":[{}]}", "{\"a\":1,\"a\":2}", "\xff\xfe"}) {
    EXPECT_EQ(status_of(ask("POST", "/v1/chat/completions", body)), 400) << body;
  }
}

TEST_F(ApiServiceTest, EchoesTheRequestId) {
  start();
  EXPECT_NE(ask("GET", "/health", "", "X-Request-Id: abc-1\r\n").find("x-request-id: abc-1\r\n"), std::string::npos);
  EXPECT_NE(ask("GET", "/health").find("x-request-id: req_"), std::string::npos);
  ask("POST", "/v1/chat/completions", kChat, "X-Request-Id: abc-2\r\n");
  EXPECT_EQ(engine_.last_request().id, "abc-2");
}

TEST_F(ApiServiceTest, EndsWithTheTraceWhenAsked) {
  start();
  const std::string b = R"({"stage":"b","queue_us":4,"compute_us":5,"wire_us":6)";
  for (const char* path : {"/v1/completions", "/generate"}) {
    EXPECT_EQ(ask("POST", path, R"({"prompt":"a"})").find("trace"), std::string::npos);
    const std::string whole = ask("POST", path, R"({"prompt":"a","trace":true})");
    EXPECT_NE(whole.find(R"("trace":{"steps":[{"step":3,"position":0,"rows":5,"total_us":90,"stages":[{)"),
              std::string::npos);
    EXPECT_NE(whole.find(b + "}"), std::string::npos) << whole;
    const auto events = stream(path, R"({"prompt":"a","trace":"layers","stream":true})");
    for (std::size_t i = 0; i < events.size(); ++i) {
      const bool is_last = events[i] != "[DONE]" && (i + 1 == events.size() || events[i + 1] == "[DONE]");
      EXPECT_EQ(events[i].find(b + R"(,"checksums":[7,8]})") != std::string::npos, is_last) << events[i];
    }
  }
  EXPECT_EQ(status_of(ask("POST", "/v1/completions", R"({"prompt":"a","trace":"rows"})")), 400);
}

TEST_F(ApiServiceTest, TellsItsHealth) {
  start({.status = [] { return Json{{"stages", {{{"stage", "a"}}}}}; }});
  Json answer = ask_json("GET", "/v1/health");
  EXPECT_EQ(answer["status"], "ok");
  EXPECT_EQ(answer["stages"][0]["stage"], "a");
  EXPECT_EQ(status_of(ask("HEAD", "/health")), 200);
  engine_.set_health(Error(Code::kDataLoss, "stage c is gone"));
  EXPECT_EQ(status_of(ask("GET", "/health")), 503);
  answer = ask_json("GET", "/health");
  EXPECT_EQ(answer["status"], "unavailable");
  EXPECT_EQ(answer["error"]["message"], "stage c is gone");
}

TEST_F(ApiServiceTest, ListsModelsAlsoWithSlashes) {
  start({.model_aliases = {"short"}});
  const Json list = ask_json("GET", "/v1/models");
  EXPECT_EQ(list["data"][0]["id"], "fake/model");
  EXPECT_EQ(list["data"][0]["root"], "fake/model");
  EXPECT_EQ(list["data"][0]["max_model_len"], 4096);
  EXPECT_EQ(list["data"][1]["id"], "short");
  EXPECT_EQ(ask_json("GET", "/v1/models/fake/model")["id"], "fake/model");
  EXPECT_EQ(ask_json("GET", "/v1/models/fake%2Fmodel")["id"], "fake/model");
  EXPECT_EQ(ask_json("GET", "/v1/models/other")["error"]["code"], "model_not_found");
}

TEST_F(ApiServiceTest, TokenizesAndBack) {
  start();
  EXPECT_EQ(ask_json("POST", "/tokenize", R"({"prompt":"hi"})")["tokens"], (Json{256, 104, 105}));
  const Json plain = ask_json("POST", "/tokenize", R"({"content":"hi","with_pieces":true})");
  EXPECT_EQ(plain["tokens"][0]["piece"], "h");
  EXPECT_EQ(plain["count"], 2);
  EXPECT_EQ(ask_json("POST", "/tokenize", kChat)["count"],
            ask_json("POST", "/v1/chat/completions", kChat)["usage"]["prompt_tokens"]);
  EXPECT_EQ(ask_json("POST", "/detokenize", R"({"tokens":[104,105]})")["content"], "hi");
  EXPECT_EQ(ask_json("POST", "/detokenize", R"({"tokens":[9999]})")["error"]["param"], "tokens");
  const Json pieces = ask_json("POST", "/tokenize", R"({"content":"\u00e9a","with_pieces":true})")["tokens"];
  EXPECT_EQ(pieces[0]["piece"], Json::array({195}));  // half a character, in bytes
  EXPECT_EQ(pieces[2]["piece"], "a");
  EXPECT_EQ(ask_json("POST", "/apply-template", kChat)["prompt"], "<bos>[user]hi[assistant]");
}

TEST_F(ApiServiceTest, GeneratesNatively) {
  start();
  const Json answer = ask_json("POST", "/generate", R"({"inputs":"x","parameters":{"max_new_tokens":3}})");
  EXPECT_EQ(answer["generated_text"], "Hello world");
  EXPECT_EQ(answer["details"]["finish_reason"], "eos_token");
  const auto lines = stream("/generate", R"({"prompt":"x","stream":true})");
  EXPECT_EQ(parse_json(lines[0]).value_or(Json())["token"]["text"], "Hello");
  EXPECT_EQ(parse_json(lines.back()).value_or(Json())["generated_text"], "Hello world");
}

TEST_F(ApiServiceTest, CutsTheLengthToWhatIsLeftForEachPrompt) {
  start();
  const auto asked = [&](std::string_view body) {
    EXPECT_EQ(status_of(ask("POST", "/v1/completions", body)), 200) << body.substr(0, 80);
    return engine_.last_request().max_tokens;
  };
  EXPECT_EQ(asked(R"({"prompt":[1,2,3,4],"max_tokens":1000000})"), 4092);
  EXPECT_EQ(asked(R"({"prompt":[1,2,3,4],"max_tokens":-1})"), -1);
  EXPECT_EQ(asked(R"({"prompt":[1,2,3,4]})"), 16);
  EXPECT_EQ(asked("{\"prompt\":\"" + std::string(4090, 'x') + "\"}"), 5) << "less than the default is left";
}

TEST_F(ApiServiceTest, TokenisesAndDetokenisesWithinBounds) {
  start();
  std::string ids = "1";
  for (int i = 1; i < 4096; ++i) ids += ",1";
  EXPECT_EQ(status_of(ask("POST", "/detokenize", "{\"tokens\":[" + ids + "]}")), 200);
  EXPECT_EQ(status_of(ask("POST", "/detokenize", "{\"tokens\":[" + ids + ",1]}")), 400);
  EXPECT_EQ(status_of(ask("POST", "/tokenize", "{\"content\":\"" + std::string(1 << 20, 'x') + "\"}")), 200);
  EXPECT_EQ(status_of(ask("POST", "/tokenize", "{\"content\":\"" + std::string((1 << 20) + 1, 'x') + "\"}")), 400);
  EXPECT_EQ(ask_json("POST", "/tokenize", R"({"content":"\"x","return_token_strs":true})")["token_strs"],
            (Json{"<0x22>", "<0x78>"}));
  EXPECT_EQ(ask_json("POST", "/tokenize", R"({"content":""})")["tokens"], Json::array());
}

TEST(RequestLog, LinesAreShort) {
  const RequestInfo info{.id = "i", .method = std::string(5000, 'M'), .path = "/" + std::string(15'000, 'a')};
  std::size_t n_bytes = 0;
  for (const auto& [name, value] : request_log_fields(info, 404, 0, ""))
    n_bytes += name.size() + dump_json(value).size();
  EXPECT_LT(n_bytes, 500u);
}

TEST_F(ApiServiceTest, ShowsMetricsAndItsIndex) {
  start();
  const std::string metrics = ask("GET", "/metrics");
  EXPECT_NE(metrics.find("content-type: text/plain; version=0.0.4"), std::string::npos);
  EXPECT_NE(metrics.find("fake_total 1"), std::string::npos);
  EXPECT_NE(body_of(ask("GET", "/")).find("POST /v1/chat/completions"), std::string::npos);
  EXPECT_EQ(ask_json("GET", "/props")["n_ctx"], 4096);
}

TEST_F(ApiServiceTest, TellsWhichSamplingDefaultsHold) {
  start();
  EXPECT_EQ(ask_json("GET", "/v1/models")["data"][0]["default_sampling"], Json::object());
  EXPECT_TRUE(ask_json("GET", "/v1/models/fake/model")["default_sampling_from"].is_null());
  GenerationDefaults defaults;
  defaults.temperature = 0.0f;
  defaults.top_p = 0.95f;
  defaults.top_k = 64;
  defaults.repetition_penalty = 1.1f;
  defaults.mirostat = MirostatParams{.is_on = true};
  defaults.dry = DryParams{.multiplier = 0.8f, .allowed_length = 4};
  defaults.source = "catalogue";
  engine_.mutable_model().defaults = defaults;
  const Json shown = parse_json(R"({"temperature":0.0,"top_k":64,"top_p":0.95,"repetition_penalty":1.1,"mirostat":2,
      "mirostat_tau":5.0,"mirostat_eta":0.1,"dry_multiplier":0.8,"dry_base":1.75,"dry_allowed_length":4,"dry_penalty_last_n":-1})")
                         .value();
  const Json model = ask_json("GET", "/v1/models/fake/model");
  EXPECT_EQ(dump_json(model["default_sampling"]), dump_json(shown));
  EXPECT_EQ(model["default_sampling_from"], "catalogue");
  EXPECT_EQ(ask_json("GET", "/props")["default_generation_settings"], model["default_sampling"]);
}

}  // namespace
}  // namespace commissure
