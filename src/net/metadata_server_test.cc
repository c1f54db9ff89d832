#include "net/metadata_server.h"

#include <gtest/gtest.h>

#include <thread>

#include "support/fake_tokens.h"
#include "support/http_server.h"

namespace commissure {
namespace {

using namespace std::chrono_literals;
using testing::HttpServer;
using testing::ServedReply;
using testing::ServedRequest;
using testing::unsigned_token;
using Time = std::chrono::system_clock::time_point;

constexpr Time kStart{std::chrono::seconds(1'800'000'000)};
constexpr std::string_view kPath = "/computeMetadata/v1/instance/service-accounts/default/";

/// A metadata server that gives the n-th token of an hour, by a clock that the test moves.
struct Fake {
  std::atomic<std::int64_t> now_s = kStart.time_since_epoch() / 1s;
  std::atomic<int> status = 200;
  std::atomic<int> lifetime_s = 3600;
  std::atomic<int> n_given = 0;

  HttpServer server{[this](const ServedRequest& request) -> ServedReply {
    if (request.headers.count("metadata-flavor") == 0 || request.headers.at("metadata-flavor") != "Google") {
      return {.status = 403};
    }
    if (status != 200) return {.status = status};
    const int n = ++n_given;
    if (request.target == fmt::format("{}token", kPath)) {
      return {.body = fmt::format(R"({{"access_token":"access-{}","expires_in":{},"token_type":"Bearer"}})", n,
                                  lifetime_s.load())};
    }
    return {.body = unsigned_token({{"aud", request.target}, {"n", n}, {"exp", now_s + lifetime_s}}) + "\n"};
  }};
  MetadataServer metadata{[this] {
    MetadataServerOptions options;
    options.host = server.url("").substr(7);
    options.now = [this] { return Time(std::chrono::seconds(now_s)); };
    return options;
  }()};
};

TEST(MetadataServer, KeepsATokenUntilShortlyBeforeItExpires) {
  Fake fake;
  EXPECT_EQ(fake.metadata.access_token().value(), "access-1");
  fake.now_s += 3300;
  EXPECT_EQ(fake.metadata.access_token().value(), "access-1");
  fake.now_s += 200;
  EXPECT_EQ(fake.metadata.access_token().value(), "access-2");
}

TEST(MetadataServer, GivesEachAudienceItsOwnIdentity) {
  Fake fake;
  const auto b = fake.metadata.identity_token("https://b-123.run.app");
  ASSERT_TRUE(b.has_value()) << b.error().message();
  EXPECT_NE(fake.metadata.identity_token("https://c.run.app?x=1&y").value(), *b);
  EXPECT_EQ(fake.metadata.identity_token("https://b-123.run.app").value(), *b);
  const auto asked = fake.server.requests();
  ASSERT_EQ(asked.size(), 2u);
  EXPECT_EQ(asked[0].target, fmt::format("{}identity?audience=https%3A%2F%2Fb-123.run.app&format=full", kPath));
  EXPECT_EQ(asked[1].target, fmt::format("{}identity?audience=https%3A%2F%2Fc.run.app%3Fx%3D1%26y&format=full", kPath));
  fake.now_s += 3500;
  EXPECT_NE(fake.metadata.identity_token("https://b-123.run.app").value(), *b) << "renewed before it expires";
}

TEST(MetadataServer, AsksAgainAtOnceForATokenThatWasRefused) {
  Fake fake;
  const std::string first = fake.metadata.identity_token("https://b").value();
  fake.metadata.forget(first);
  const std::string second = fake.metadata.identity_token("https://b").value();
  EXPECT_NE(second, first);
  fake.metadata.forget(first);  // refused long ago: the newer one stays
  EXPECT_EQ(fake.metadata.identity_token("https://b").value(), second);
}

TEST(MetadataServer, ServesAValidTokenWhileTheServerIsAway) {
  Fake fake;
  EXPECT_EQ(fake.metadata.access_token().value(), "access-1");
  fake.status = 503;
  fake.now_s += 3500;
  EXPECT_EQ(fake.metadata.access_token().value(), "access-1");
  fake.now_s += 200;
  EXPECT_EQ(fake.metadata.access_token().error().code(), Code::kUnavailable);
  fake.status = 200;
  EXPECT_EQ(fake.metadata.access_token().value(), "access-2");
}

TEST(MetadataServer, DoesNotAskForEveryCallWhenTokensLiveShortly) {
  Fake fake;
  fake.lifetime_s = 60;
  for (int i = 0; i < 5; ++i) EXPECT_EQ(fake.metadata.access_token().value(), "access-1");
}

TEST(MetadataServer, AsksOnceForManyThreads) {
  Fake fake;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] { EXPECT_EQ(fake.metadata.access_token().value(), "access-1"); });
  }
  threads.clear();
  EXPECT_EQ(fake.server.requests().size(), 1u);
}

TEST(MetadataServer, TriesAgainThenTellsWhatIsWrong) {
  Fake fake;
  fake.status = 500;
  EXPECT_EQ(fake.metadata.access_token().error().code(), Code::kUnavailable);
  EXPECT_EQ(fake.server.requests().size(), 3u);
  fake.status = 404;
  EXPECT_NE(fake.metadata.access_token().error().message().find("no service account"), std::string::npos);
  EXPECT_EQ(fake.server.requests().size(), 4u) << "no use in asking again";
  MetadataServerOptions nobody;
  nobody.host = "127.0.0.1:1";
  nobody.n_attempts = 1;
  const Error error = MetadataServer(nobody).identity_token("https://b").error();
  EXPECT_EQ(error.code(), Code::kUnavailable);
  EXPECT_NE(error.message().find("GCE_METADATA_HOST"), std::string::npos) << error.message();
}

TEST(MetadataServer, ShowsNoSecretOfABrokenAnswer) {
  std::string body;
  const HttpServer server([&](const ServedRequest&) -> ServedReply { return {.body = body}; });
  MetadataServerOptions options;
  options.host = server.url("").substr(7);
  MetadataServer metadata(options);
  for (const char* answer :
       {"s3cret", "{\"access_token\":\"s3cret\"}", "{\"access_token\":\"s3cret\",\"expires_in\":0}",
        "{\"s3cret\":", "[]", "{\"access_token\":7,\"expires_in\":9}",
        "{\"access_token\":\"s3cret\\r\\nX-Admin: 1\",\"expires_in\":9}", "{\"access_token\":\"\",\"expires_in\":9}"}) {
    body = answer;
    for (const auto& token : {metadata.access_token(), metadata.identity_token("https://b")}) {
      ASSERT_FALSE(token.has_value()) << answer;
      EXPECT_EQ(token.error().code(), Code::kDataLoss) << answer;
      EXPECT_EQ(token.error().message().find("s3cret"), std::string::npos) << token.error().message();
    }
  }
  body = unsigned_token({{"exp", 1}});
  EXPECT_NE(metadata.identity_token("https://b").error().message().find("expired"), std::string::npos);
}

}  // namespace
}  // namespace commissure
