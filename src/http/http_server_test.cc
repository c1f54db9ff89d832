#include "http/http_server.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <mutex>
#include <new>
#include <optional>
#include <stdexcept>
#include <thread>

#include "support/failing_new.h"
#include "support/raw_client.h"

namespace commissure {
namespace {

using namespace std::chrono_literals;
using testing::body_of;
using testing::http_request;
using testing::RawClient;

/// Answers with what it was asked; "/hold" is kept until the test lets go.
class Echo {
 public:
  void operator()(HttpRequest request, std::shared_ptr<Responder> responder) {
    if (request.path == "/drop") return;
    if (request.path == "/block") {
      ++n_blocked;
      n_let_go.wait(0);
    }
    if (request.path == "/no-memory") throw std::bad_alloc();
#ifdef COMMISSURE_FAILING_NEW
    if (request.path == "/starve") {
      starved.emplace(1, FailingNew::Where::kHere);  // from here on this thread gets no byte
      throw std::bad_alloc();
    }
#endif
    if (request.path == "/no-memory-later") return responder->post([responder] { throw std::bad_alloc(); });
    if (request.path == "/fault") throw std::runtime_error("a library's");
    if (request.path == "/fault-later") {
      return responder->post([responder] { throw std::runtime_error("a library's"); });
    }
    if (request.path == "/big") return responder->send({.body = std::string(2 << 20, 'x')});
    if (request.path == "/hold") {
      responder->on_gone([this] { ++gone; });
      const std::lock_guard lock(mutex);
      held.push_back(responder);
      ++n_held;
      return;
    }
    if (request.path == "/flood") return flood(responder);
    if (request.path == "/quiet") {
      responder->on_silence(30ms, [responder] {
        responder->begin_stream({.content_type = "text/event-stream"});
        responder->write(": still here\n\n");
      });
      return;
    }
    responder->send(
        {.body = request.method + " " + request.path + " " + request.query + " " + request.body.substr(0, 1000)});
  }

  void flood(const std::shared_ptr<Responder>& responder) {
    responder->on_gone([this] { ++gone; });
    responder->begin_stream({.content_type = "text/event-stream"});
    for (int i = 0; i < 64 && gone == 0; ++i) responder->write(std::string(128 << 10, 'x'));
  }

  void release() {
    const std::lock_guard lock(mutex);
    for (const auto& responder : held) responder->send({.body = "released"});
    held.clear();
  }

  std::atomic<int> gone{0};
  void let_go() {
    n_let_go = 1;
    n_let_go.notify_all();
  }

#ifdef COMMISSURE_FAILING_NEW
  std::optional<FailingNew> starved;
#endif
  std::atomic<int> n_held{0};
  std::atomic<int> n_blocked{0};
  std::atomic<int> n_let_go{0};
  std::mutex mutex;
  std::vector<std::shared_ptr<Responder>> held;
};

class HttpServerTest : public ::testing::Test {
 protected:
  void start(HttpServerOptions options = {}) {
    options.port = 0;
    auto started = HttpServer::start(options, [this](HttpRequest request, std::shared_ptr<Responder> responder) {
      echo_(std::move(request), std::move(responder));
    });
    ASSERT_TRUE(started) << started.error().message();
    server_ = std::move(*started);
  }
  int port() const { return server_->port(); }

  static bool eventually(const std::function<bool()>& claim) {
    for (int i = 0; i < 500; ++i) {
      if (claim()) return true;
      std::this_thread::sleep_for(5ms);
    }
    return false;
  }

  Echo echo_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, KeepsTheConnectionForTheNextRequest) {
  start();
  RawClient client(port());
  for (int i = 0; i < 3; ++i) {
    client.send(http_request("GET", "/a%20b?x=1"));
    EXPECT_EQ(body_of(client.read_response()), "GET /a b x=1 ");
  }
}

TEST_F(HttpServerTest, AnswersPipelinedRequestsInOrder) {
  start();
  RawClient client(port());
  std::string all;
  for (int i = 0; i < 50; ++i) all += http_request("POST", "/" + std::to_string(i), "body");
  client.send(all);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(body_of(client.read_response()), "POST /" + std::to_string(i) + "  body");
}

TEST_F(HttpServerTest, TakesARequestByteByByte) {
  start();
  RawClient client(port());
  for (const char c : http_request("POST", "/slow", "abc")) client.send(std::string_view(&c, 1));
  EXPECT_EQ(body_of(client.read_response()), "POST /slow  abc");
}

TEST_F(HttpServerTest, ReadsChunkedBodies) {
  start();
  RawClient client(port());
  client.send("POST /c HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
  EXPECT_EQ(body_of(client.read_response()), "POST /c  abcde");
}

TEST_F(HttpServerTest, InvitesTheBodyOfAnExpectation) {
  start();
  RawClient client(port());
  client.send("POST /e HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
  EXPECT_EQ(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("abc");
  EXPECT_EQ(body_of(client.read_response()), "POST /e  abc");
}

TEST_F(HttpServerTest, AnswersHeadWithoutABody) {
  start();
  RawClient client(port());
  client.send(http_request("HEAD", "/h") + http_request("GET", "/g"));
  const std::string head = client.read_until("\r\n\r\n");
  EXPECT_NE(head.find("content-length: 9"), std::string::npos) << head;
  EXPECT_EQ(body_of(client.read_response()), "GET /g  ");
}

TEST_F(HttpServerTest, ClosesAfterHttp10AndConnectionClose) {
  start();
  RawClient old(port());
  old.send("GET /old HTTP/1.0\r\n\r\n");
  EXPECT_EQ(body_of(old.read_response()), "GET /old  ");
  EXPECT_TRUE(old.closed_within(1s));
  RawClient last(port());
  last.send(http_request("GET", "/last", "", "Connection: close\r\n"));
  EXPECT_NE(last.read_response().find("connection: close"), std::string::npos);
  EXPECT_TRUE(last.closed_within(1s));
}

TEST_F(HttpServerTest, RefusesABodyOverTheLimit) {
  start({.max_body_bytes = 1000});
  RawClient announced(port());
  announced.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1001\r\n\r\n");
  EXPECT_EQ(announced.read_response().substr(0, 12), "HTTP/1.1 413");
  RawClient sent(port());
  sent.send(http_request("POST", "/", std::string(300'000, 'x')));  // all of it, and still the answer arrives
  EXPECT_EQ(sent.read_response().substr(0, 12), "HTTP/1.1 413");
  RawClient chunked(port());
  chunked.send(
      "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
      "FFFFF\r\n" +
      std::string(5000, 'x'));
  EXPECT_EQ(chunked.read_response().substr(0, 12), "HTTP/1.1 413");
  RawClient fits(port());
  fits.send(http_request("POST", "/", std::string(1000, 'x')));
  EXPECT_EQ(fits.read_response().substr(0, 12), "HTTP/1.1 200");
}

TEST_F(HttpServerTest, RefusesHeadersOverTheLimit) {
  start();
  RawClient client(port());
  client.send("GET / HTTP/1.1\r\nHost: t\r\nx-long: " + std::string(40'000, 'a'));
  EXPECT_EQ(client.read_response().substr(0, 12), "HTTP/1.1 431");
}

TEST_F(HttpServerTest, RefusesGarbage) {
  start();
  for (const std::string_view bytes :
       {"hello\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "GET / HTTP/9.9\r\n\r\n",
        "GET /%zz HTTP/1.1\r\nHost: t\r\n\r\n", "GET /%00 HTTP/1.1\r\nHost: t\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: t\r\nbad header\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"}) {
    RawClient client(port());
    client.send(bytes);
    const std::string answer = client.read_response();
    EXPECT_EQ(answer.substr(0, 10), "HTTP/1.1 4") << bytes << " -> " << answer;
    EXPECT_TRUE(client.closed_within(1s));
  }
  RawClient after(port());
  after.send(http_request("GET", "/fine"));
  EXPECT_EQ(body_of(after.read_response()), "GET /fine  ");
}

TEST_F(HttpServerTest, TakesNoBodyForTheNextRequest) {
  start();
  for (const std::string_view encoding :
       {"chunked, gzip", "xchunked", "identity", "gzip", "gzip, chunked", "chunked, identity", "chunked;x",
        "\"chunked\"", ",", "chunked,", "chunked\r\nTransfer-Encoding: chunked",
        "chunked\r\nTransfer-Encoding: gzip"}) {
    for (const std::string_view length : {"", "Content-Length: 3\r\n"}) {
      RawClient client(port());
      client.send(fmt::format("POST /a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: {}\r\n{}\r\n{}", encoding, length,
                              http_request("GET", "/smuggled")));
      const std::string all = client.read_until("/smuggled", 1, 2s);  // to the end of the connection
      EXPECT_EQ(all.find("/smuggled"), std::string::npos) << encoding;
      EXPECT_EQ(all.substr(0, 9), "HTTP/1.1 ") << encoding;
      EXPECT_TRUE(all.substr(9, 3) == "501" ||
                  (all.substr(9, 3) == "400" && (!length.empty() || encoding.find('\n') != std::string_view::npos)))
          << encoding << all;
      EXPECT_EQ(all.find("HTTP/1.1 ", 1), std::string::npos) << "one answer: " << all;
    }
  }
  RawClient spelled(port());
  spelled.send("POST /c HTTP/1.1\r\nhost: t:80\r\ntransfer-encoding:  Chunked \r\n\r\n0\r\n\r\n");
  EXPECT_EQ(body_of(spelled.read_response()), "POST /c  ");
}

TEST_F(HttpServerTest, AnswersAClientThatClosedItsSendingHalf) {
  start();
  RawClient waiting(port());
  waiting.send(http_request("GET", "/hold"));
  waiting.finish_sending();
  ASSERT_TRUE(eventually([&] { return echo_.n_held == 1; }));
  std::this_thread::sleep_for(20ms);  // the end of what it sends arrives
  EXPECT_EQ(echo_.gone, 0);
  echo_.release();
  EXPECT_NE(waiting.read_until("released").find("HTTP/1.1 200 OK"), std::string::npos);
  EXPECT_TRUE(waiting.closed_within(1s));

  RawClient pipelining(port());
  pipelining.send(http_request("POST", "/1", "one") + http_request("POST", "/2", "two"));
  pipelining.finish_sending();
  EXPECT_NE(pipelining.read_until("POST /2  two").find("POST /1  one"), std::string::npos);
  EXPECT_TRUE(pipelining.closed_within(1s));
}

TEST_F(HttpServerTest, SeesAHalfClosedClientGo) {
  start();
  RawClient client(port());
  client.send(http_request("GET", "/hold"));
  client.finish_sending();
  ASSERT_TRUE(eventually([&] { return echo_.n_held == 1; }));
  std::this_thread::sleep_for(20ms);
  client.close();
  EXPECT_TRUE(eventually([&] { return echo_.gone == 1; }));
}

TEST_F(HttpServerTest, SeesAWaitingClientGo) {
  start();
  RawClient leaves(port());
  leaves.send(http_request("GET", "/hold"));
  RawClient resets(port());
  resets.send(http_request("GET", "/hold"));
  ASSERT_TRUE(eventually([&] { return echo_.n_held == 2; }));
  leaves.close();
  resets.reset();
  EXPECT_TRUE(eventually([&] { return echo_.gone == 2; }));
  echo_.release();  // into the void: nothing happens
}

TEST_F(HttpServerTest, CutsOffASlowReader) {
  start({.max_queued_bytes = 256 << 10, .send_buffer_bytes = 32 << 10});
  RawClient slow(port(), 4 << 10);
  slow.send(http_request("GET", "/flood"));
  EXPECT_TRUE(eventually([&] { return echo_.gone == 1; }));
  RawClient other(port());
  other.send(http_request("GET", "/other"));
  EXPECT_EQ(body_of(other.read_response()), "GET /other  ");
}

TEST_F(HttpServerTest, GivesUpOnAClientThatTakesNothing) {
  start({.max_queued_bytes = 64 << 20, .send_buffer_bytes = 32 << 10, .write_timeout = 100ms});
  RawClient stuck(port(), 4 << 10);
  stuck.send(http_request("GET", "/flood"));
  EXPECT_TRUE(eventually([&] { return echo_.gone == 1; }));
}

TEST_F(HttpServerTest, TimesOutIdleAndUnfinishedRequests) {
  start({.idle_timeout = 60ms, .read_timeout = 60ms});
  RawClient idle(port());
  EXPECT_TRUE(idle.closed_within(1s));
  RawClient unfinished(port());
  unfinished.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\nabc");
  EXPECT_EQ(unfinished.read_response().substr(0, 12), "HTTP/1.1 408");
  EXPECT_TRUE(unfinished.closed_within(1s));
}

TEST_F(HttpServerTest, GivesASilentConnectionTheTimeOfARequest) {
  start({.idle_timeout = 60s, .read_timeout = 60ms});
  RawClient silent(port());
  EXPECT_TRUE(silent.closed_within(1s));
}

TEST_F(HttpServerTest, CallsBackInSilence) {
  start();
  RawClient client(port());
  client.send(http_request("GET", "/quiet"));
  EXPECT_NE(client.read_until(": still here", 3).find("transfer-encoding: chunked"), std::string::npos);
}

TEST_F(HttpServerTest, AnswersForAHandlerThatForgot) {
  start();
  RawClient client(port());
  client.send(http_request("GET", "/drop") + http_request("GET", "/next"));
  EXPECT_EQ(client.read_response().substr(0, 12), "HTTP/1.1 500");
  EXPECT_EQ(body_of(client.read_response()), "GET /next  ");
}

TEST_F(HttpServerTest, HoldsAHundredIdleConnections) {
  start();
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 100; ++i) clients.push_back(std::make_unique<RawClient>(port()));
  for (const auto& client : clients) client->send(http_request("GET", "/x"));
  for (const auto& client : clients) EXPECT_EQ(body_of(client->read_response()), "GET /x  ");
}

TEST_F(HttpServerTest, RefusesConnectionsOverTheLimit) {
  start({.max_connections = 2});
  RawClient first(port());
  RawClient second(port());
  first.send(http_request("GET", "/1"));
  second.send(http_request("GET", "/2"));
  EXPECT_NE(first.read_response(), "");
  EXPECT_NE(second.read_response(), "");
  RawClient third(port());
  third.send(http_request("GET", "/3"));
  const std::string answer = third.read_response();
  EXPECT_EQ(answer.substr(0, 12), "HTTP/1.1 503");
  EXPECT_NE(answer.find("retry-after"), std::string::npos);
}

TEST_F(HttpServerTest, OneBodyHoldsUpNoOther) {
  start({.n_workers = 2, .long_body_bytes = 10});
  RawClient blocking(port());
  blocking.send(http_request("POST", "/block", "0123456789"));
  ASSERT_TRUE(eventually([&] { return echo_.n_blocked == 1; }));
  RawClient client(port());
  client.send(http_request("POST", "/w", "0123456789") + http_request("POST", "/v", "1"));
  EXPECT_EQ(body_of(client.read_response()), "POST /w  0123456789");
  EXPECT_EQ(body_of(client.read_response()), "POST /v  1");
  RawClient second(port());
  second.send(http_request("POST", "/block", "0123456789"));
  ASSERT_TRUE(eventually([&] { return echo_.n_blocked == 2; })) << "all who read long bodies are busy";
  client.send(http_request("POST", "/v", "2") + http_request("GET", "/health"));
  EXPECT_EQ(body_of(client.read_response()), "POST /v  2");
  EXPECT_EQ(body_of(client.read_response()), "GET /health  ");
  echo_.let_go();
  EXPECT_EQ(body_of(blocking.read_response()), "POST /block  0123456789");
}

TEST_F(HttpServerTest, ShortBodiesOfLongWorkHoldUpNoOther) {
  start({.n_workers = 1, .is_long = [](const HttpRequest& request) { return request.path == "/block"; }});
  RawClient blocking(port());
  blocking.send(http_request("POST", "/block", "b"));
  ASSERT_TRUE(eventually([&] { return echo_.n_blocked == 1; }));
  RawClient client(port());
  client.send(http_request("POST", "/v", "1"));
  EXPECT_EQ(body_of(client.read_response()), "POST /v  1");
  echo_.let_go();
  EXPECT_EQ(body_of(blocking.read_response()), "POST /block  b");
}

TEST_F(HttpServerTest, NoBodyThatIsNotQuickReachesTheThreadsOfTheConnections) {
  start({.n_threads = 1, .n_workers = 2});
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 8; ++i) {
    clients.push_back(std::make_unique<RawClient>(port()));
    clients.back()->send(http_request("POST", "/block", "b"));
  }
  ASSERT_TRUE(eventually([&] { return echo_.n_blocked == 2; })) << "as many as there are workers";
  RawClient beside(port());
  for (int i = 0; i < 3; ++i) {
    beside.send(http_request("GET", "/health"));
    EXPECT_EQ(body_of(beside.read_response()), "GET /health  ");
  }
  EXPECT_EQ(echo_.n_blocked, 2);
  echo_.let_go();
  for (const auto& client : clients) EXPECT_EQ(body_of(client->read_response()), "POST /block  b");
}

TEST_F(HttpServerTest, AQuickRequestWaitsForNoWorker) {
  start({.n_workers = 1, .is_quick = [](const HttpRequest& request) { return request.path == "/quick"; }});
  RawClient blocking(port());
  blocking.send(http_request("POST", "/block", "b"));
  ASSERT_TRUE(eventually([&] { return echo_.n_blocked == 1; }));
  RawClient client(port());
  client.send(http_request("POST", "/quick", "q"));
  EXPECT_EQ(body_of(client.read_response()), "POST /quick  q");
  echo_.let_go();
  EXPECT_EQ(body_of(blocking.read_response()), "POST /block  b");
}

TEST_F(HttpServerTest, TellsWhileItIsAskedWhetherAClientLeft) {
  start({});
  RawClient client(port());
  client.send(http_request("POST", "/hold", "b"));
  ASSERT_TRUE(eventually([&] { return echo_.n_held == 1; }));
  EXPECT_FALSE(echo_.held.front()->is_gone());
  client.reset();
  EXPECT_TRUE(eventually([&] { return echo_.held.front()->is_gone(); }));
  echo_.release();
}

TEST_F(HttpServerTest, ForgetsTheBodyOfAClientThatLeft) {
  start({.n_workers = 1});
  RawClient blocking(port());
  blocking.send(http_request("POST", "/block", "b"));
  ASSERT_TRUE(eventually([&] { return echo_.n_blocked == 1; }));
  RawClient leaves(port());
  leaves.send(http_request("POST", "/block", "never seen"));
  std::this_thread::sleep_for(20ms);  // it waits for the worker
  leaves.reset();
  std::this_thread::sleep_for(20ms);
  echo_.let_go();
  EXPECT_EQ(body_of(blocking.read_response()), "POST /block  b");
  blocking.send(http_request("POST", "/after", "b"));
  EXPECT_EQ(body_of(blocking.read_response()), "POST /after  b");
  EXPECT_EQ(echo_.n_blocked, 1);
}

TEST_F(HttpServerTest, BoundsAllBodiesTogether) {
  start({.n_workers = 1, .max_total_bytes = 300'000, .long_body_bytes = 100'000});
  const std::string large(200'000, 'x');
  RawClient holds(port());
  holds.send(http_request("POST", "/block", large));
  ASSERT_TRUE(eventually([&] { return echo_.n_blocked == 1; }));
  RawClient client(port());
  client.send(http_request("POST", "/more", large));
  const std::string answer = client.read_response();
  EXPECT_EQ(answer.substr(0, 12), "HTTP/1.1 503") << answer;
  EXPECT_NE(answer.find("retry-after"), std::string::npos);
  RawClient ordinary(port());
  ordinary.send(http_request("POST", "/small", std::string(40'000, 'x')));
  EXPECT_EQ(ordinary.read_response().substr(0, 12), "HTTP/1.1 200") << "ordinary requests go on";
  echo_.let_go();
  EXPECT_EQ(holds.read_response().substr(0, 12), "HTTP/1.1 200");
  const auto is_taken = [&](std::string_view path) {  // a rejection ends its connection
    RawClient another(port());
    another.send(http_request("POST", path, large));
    return another.read_response().starts_with("HTTP/1.1 200");
  };
  EXPECT_TRUE(eventually([&] { return is_taken("/more"); })) << "what was held is free again";
  std::this_thread::sleep_for(20ms);  // the worker is done with that one too
  holds.send(http_request("POST", "/hold", large));
  ASSERT_TRUE(eventually([&] { return echo_.n_held == 1; }));
  EXPECT_FALSE(is_taken("/more")) << "until the answer is whole";
  echo_.release();
  EXPECT_EQ(body_of(holds.read_response()), "released");
}

TEST_F(HttpServerTest, BoundsAllUnsentAnswersTogether) {
  start({.max_total_bytes = 3 << 20, .send_buffer_bytes = 32 << 10});
  RawClient reads_nothing(port(), 4 << 10);
  reads_nothing.send(http_request("GET", "/big"));
  reads_nothing.read_until("\r\n\r\n");  // and nothing from here on
  RawClient client(port());
  ASSERT_TRUE(eventually([&] {
    client.send(http_request("GET", "/big"));
    return client.read_response().starts_with("HTTP/1.1 503");
  }));
  reads_nothing.close();
  EXPECT_TRUE(eventually([&] {
    client.send(http_request("GET", "/big"));
    return client.read_response().starts_with("HTTP/1.1 200");
  }));
}

TEST_F(HttpServerTest, AFaultFailsOneRequest) {
  start();
  RawClient client(port());
  for (const auto& [path, status] : std::vector<std::pair<std::string_view, std::string>>{
           {"/no-memory", "503"}, {"/no-memory-later", "503"}, {"/fault", "500"}, {"/fault-later", "500"}}) {
    for (const std::string_view body : {"", "on a worker"}) {
      client.send(http_request("POST", path, body));
      EXPECT_EQ(client.read_response().substr(0, 12), "HTTP/1.1 " + status) << path;
    }
  }
  client.send(http_request("GET", "/next"));
  EXPECT_EQ(body_of(client.read_response()), "GET /next  ");
}

#ifdef COMMISSURE_FAILING_NEW
TEST_F(HttpServerTest, ABodyThatThereIsNoMemoryForIsRefusedAtOnce) {
  start({});
  const std::string request = http_request("POST", "/w", std::string(3 << 20, 'x'));
  RawClient client(port()), next(port());
  {
    const FailingNew failing(1 << 20);
    client.send(request);
    EXPECT_EQ(client.read_response().substr(0, 12), "HTTP/1.1 503");
    EXPECT_GT(failing.n_failed(), 0);
  }
  next.send(http_request("GET", "/next"));
  EXPECT_EQ(body_of(next.read_response()), "GET /next  ");
}

TEST_F(HttpServerTest, AConnectionThatThereIsNoMemoryForIsNotTheLast) {
  start({});
  {
    const FailingNew failing(400);  // a connection is larger
    RawClient refused(port());
    EXPECT_TRUE(refused.closed_within(5s));
    EXPECT_GT(failing.n_failed(), 0);
  }
  RawClient next(port());
  next.send(http_request("GET", "/next"));
  EXPECT_EQ(body_of(next.read_response()), "GET /next  ");
}

TEST_F(HttpServerTest, AWorkerWithoutMemoryForItsRefusalIsAnsweredFor) {
  start({});
  RawClient client(port());
  client.send(http_request("POST", "/starve", "on a worker"));
  EXPECT_EQ(client.read_response().substr(0, 12), "HTTP/1.1 503") << "the connection's own thread has memory";
  EXPECT_GT(echo_.starved->n_failed(), 0);
  echo_.starved.reset();
  client.send(http_request("POST", "/next", "x"));
  EXPECT_EQ(body_of(client.read_response()), "POST /next  x");
}
#endif

TEST_F(HttpServerTest, ListensOnIPv6) {
  for (const char* address : {"::1", "[::1]", "::"}) {
    auto server = HttpServer::start({.address = address, .port = 0}, [](HttpRequest, std::shared_ptr<Responder>) {});
    if (!server && server.error().code() == Code::kUnavailable) GTEST_SKIP() << server.error().message();
    EXPECT_TRUE(server) << address;
  }
}

TEST_F(HttpServerTest, StopLetsARunningAnswerFinish) {
  start();
  RawClient idle(port());
  RawClient busy(port());
  busy.send(http_request("GET", "/hold"));
  ASSERT_TRUE(eventually([&] { return echo_.n_held == 1; }));
  auto stopped = std::async(std::launch::async, [&] { server_->stop(5s); });
  EXPECT_TRUE(idle.closed_within(1s));
  std::this_thread::sleep_for(20ms);  // the busy connection hears of it on a strand of its own
  echo_.release();
  const std::string answer = busy.read_response();
  EXPECT_EQ(body_of(answer), "released");
  EXPECT_NE(answer.find("connection: close"), std::string::npos);
  busy.close();
  stopped.get();
  EXPECT_EQ(echo_.gone, 0);
  EXPECT_FALSE(RawClient(server_->port()).connected());
}

TEST_F(HttpServerTest, StopCutsWhatOutlivesTheGrace) {
  start();
  RawClient busy(port());
  busy.send(http_request("GET", "/hold"));
  ASSERT_TRUE(eventually([&] { return echo_.n_held == 1; }));
  server_->stop(20ms);
  EXPECT_EQ(echo_.gone, 1);
  server_.reset();
  echo_.release();  // a responder may outlive its server
}

TEST_F(HttpServerTest, NamesThePortInUse) {
  start();
  const auto second = HttpServer::start({.port = port()}, [](HttpRequest, std::shared_ptr<Responder>) {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), Code::kAlreadyExists);
  EXPECT_NE(second.error().message().find("port " + std::to_string(port())), std::string::npos);
}

TEST_F(HttpServerTest, RefusesABadAddressOrPort) {
  const auto handler = [](HttpRequest, std::shared_ptr<Responder>) {};
  EXPECT_EQ(HttpServer::start({.address = "nowhere", .port = 0}, handler).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(HttpServer::start({.port = 70000}, handler).error().code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace commissure
