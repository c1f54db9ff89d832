// Stages that call each other over TLS with identity tokens, against a fake metadata server.

#include <gtest/gtest.h>

#include <atomic>

#include "support/eventually.h"
#include "support/fake_stage.h"
#include "support/http_server.h"
#include "support/temp_folder.h"
#include "support/test_ca.h"

namespace commissure {
namespace {

using std::chrono::seconds;
using testing::eventually;
using testing::HttpServer;
using testing::ServedReply;
using testing::ServedRequest;
using testing::TestCa;
using testing::TokenSigner;

constexpr const char* kCaller = "stage-a@p.iam.gserviceaccount.com";

/// One authority, made once: keys take their time.
const TestCa& ca() {
  static const TestCa made = TestCa::make();
  return made;
}
const TokenSigner& google() {
  static const TokenSigner made("g1");
  return made;
}

std::int64_t now_s() { return std::chrono::system_clock::now().time_since_epoch() / seconds(1); }

/// Stage B behind TLS that lets only stage A in, and the metadata server that gives stage A its tokens.
struct GuardedChain {
  testing::TempFolder folder;
  std::atomic<int> n_tokens = 0;
  std::atomic<int> n_bad = 0;  // so many first tokens are wrong
  Json change;                 // of the wrong ones' claims
  std::string audience = "https://127.0.0.1";
  HttpServer server{[this](const ServedRequest&) -> ServedReply {
    Json claims = {{"iss", "https://accounts.google.com"},
                   {"aud", audience},
                   {"iat", now_s()},
                   {"exp", now_s() + 3600},
                   {"email", kCaller},
                   {"email_verified", true}};
    if (n_tokens++ < n_bad) claims.update(change);
    return {.body = google().sign(claims)};
  }};
  MetadataServer metadata{[this] {
    MetadataServerOptions options;
    options.host = server.url("").substr(7);
    return options;
  }()};
  std::unique_ptr<FakeProcess> b;
  Endpoint endpoint;

  GuardedChain() {
    IdentityRules rules;
    rules.audiences = {audience};
    rules.callers = {kCaller};
    rules.keys = folder.write("jwks.json", google().jwks());
    ServerSecurity security{TlsPair{ca().certificate, ca().key}, IdentityCheck::create(rules).value()};
    b = std::make_unique<FakeProcess>(fake_info(1, 2), Endpoint{"127.0.0.1:0", false, true}, std::nullopt, true,
                                      security);
    endpoint = parse_endpoint(fmt::format("https://127.0.0.1:{}", b->server->port())).value();
  }
  ClientSecurity client(bool with_identity = true) {
    ClientSecurity security{ca().root, nullptr};
    if (with_identity) security.identity = std::make_shared<CallerIdentity>(metadata, audience);
    return security;
  }
  std::unique_ptr<GrpcLink> link(const ClientSecurity& security) const {
    GrpcLinkOptions options = fake_link_options(endpoint, [] { return fake_info(0, 2); });
    options.security = security;
    auto link = std::make_unique<GrpcLink>(options);
    link->start([](const Result<StageOutput>&) {});
    return link;
  }
};

/// The reason why the link will not come up.
Error refusal(const GrpcLink& link) {
  EXPECT_TRUE(eventually([&] {
    const Status health = link.health();
    return !health && health.error().code() == Code::kFailedPrecondition;
  })) << link.health().error().message();
  return link.health() ? Error(Code::kUnknown, "healthy") : link.health().error();
}

void expect_no_token(const std::string& text) { EXPECT_EQ(text.find("eyJ"), std::string::npos) << text; }

TEST(Security, LetsTheRightStageInOverTls) {
  GuardedChain chain;
  const auto link = chain.link(chain.client());
  ASSERT_TRUE(eventually([&] { return link->health().has_value(); })) << link->health().error().message();
  StageClient client(chain.endpoint, chain.client());
  EXPECT_TRUE(client.describe(seconds(20)).has_value());
  EXPECT_TRUE(client.wake(seconds(20), [](const auto&) {}, {}).has_value());
  EXPECT_EQ(chain.n_tokens, 1) << "one token serves all calls";
  link->stop();
}

TEST(Security, RefusesACallerWithoutAToken) {
  GuardedChain chain;
  const auto link = chain.link(chain.client(false));
  EXPECT_NE(refusal(*link).message().find("--identity metadata"), std::string::npos);
  StageClient client(chain.endpoint, chain.client(false));
  EXPECT_EQ(client.describe(seconds(20)).error().code(), Code::kFailedPrecondition);
  EXPECT_EQ(client.wake(seconds(20), [](const auto&) {}, {}).error().code(), Code::kFailedPrecondition);
  EXPECT_EQ(chain.b->n_wakes, 0);
  link->stop();
}

TEST(Security, RefusesEveryWrongTokenAndTellsWhichRoleIsMissing) {
  for (const Json& change : {Json{{"aud", "https://c.run.app"}}, Json{{"iss", "https://example.com"}},
                             Json{{"email", "stage-x@p.iam.gserviceaccount.com"}}}) {
    GuardedChain chain;
    chain.n_bad = 1'000'000;
    chain.change = change;
    ::testing::internal::CaptureStderr();
    const auto link = chain.link(chain.client());
    const Error error = refusal(*link);
    EXPECT_NE(error.message().find("roles/run.invoker"), std::string::npos) << error.message();
    EXPECT_NE(error.message().find("https://127.0.0.1"), std::string::npos) << error.message();
    EXPECT_GE(chain.n_tokens, 2) << "a fresh token was tried";
    link->stop();
    chain.b.reset();
    expect_no_token(error.message());
    expect_no_token(::testing::internal::GetCapturedStderr());
  }
}

TEST(Security, TriesAFreshTokenAtOnceWhenOneIsRefused) {
  GuardedChain chain;
  chain.n_bad = 1;
  chain.change = {{"exp", now_s() + 60}, {"aud", "https://old.run.app"}};
  StageClient client(chain.endpoint, chain.client());
  const auto described = client.describe(seconds(20));
  ASSERT_TRUE(described.has_value()) << described.error().message();
  EXPECT_EQ(chain.n_tokens, 2);

  GuardedChain other;
  other.n_bad = 1;
  other.change = chain.change;
  const auto link = other.link(other.client());
  ASSERT_TRUE(eventually([&] { return link->health().has_value(); }));
  EXPECT_EQ(other.n_tokens, 2);
  link->stop();
}

TEST(Security, AsksForAnIdentityLater) {
  GuardedChain chain;
  chain.n_bad = 1;
  chain.change = {{"aud", "https://old.run.app"}};
  std::atomic<int> outcome = 0;
  auto held = std::make_shared<int>();
  const std::weak_ptr<int> pending = held;
  {
    StageClient client(chain.endpoint, chain.client());
    client.describe_later(seconds(20), [&outcome, held](const auto& stages) { outcome = stages ? 1 : 2; });
    held.reset();
    EXPECT_TRUE(eventually([&] { return outcome == 1; })) << outcome;
  }
  EXPECT_TRUE(pending.expired()) << "gRPC still calls back while the process ends";
}

TEST(Security, DoesNotTrustAnotherAuthority) {
  GuardedChain chain;
  ClientSecurity security = chain.client();
  security.roots = TestCa::make().root;
  EXPECT_EQ(StageClient(chain.endpoint, security).describe(seconds(20)).error().code(), Code::kUnavailable);
  EXPECT_EQ(chain.b->n_wakes, 0);
}

TEST(Security, NeverSendsATokenInTheClear) {
  GuardedChain chain;
  FakeProcess plain(fake_info(1, 2), Endpoint{"127.0.0.1:0", false, true});
  const Endpoint endpoint = parse_endpoint(fmt::format("127.0.0.1:{}", plain.server->port())).value();
  EXPECT_TRUE(StageClient(endpoint, chain.client()).describe(seconds(20)).has_value());
  EXPECT_EQ(chain.n_tokens, 0);
}

TEST(Security, SaysSoWhenNoTokenCanBeHad) {
  GuardedChain chain;
  MetadataServerOptions nobody;
  nobody.host = "127.0.0.1:1";
  nobody.n_attempts = 1;
  MetadataServer away(nobody);
  ClientSecurity security = chain.client(false);
  security.identity = std::make_shared<CallerIdentity>(away, "https://127.0.0.1");
  const Error error = StageClient(chain.endpoint, security).describe(seconds(20)).error();
  EXPECT_EQ(error.code(), Code::kUnavailable);
  EXPECT_NE(error.message().find("GCE_METADATA_HOST"), std::string::npos) << error.message();
}

}  // namespace
}  // namespace commissure
