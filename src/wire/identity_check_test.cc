#include "wire/identity_check.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "core/json.h"
#include "support/eventually.h"
#include "support/failing_new.h"
#include "support/fake_tokens.h"
#include "support/http_server.h"
#include "support/temp_folder.h"
#include "support/test_ca.h"

namespace commissure {
namespace {

using testing::eventually;
using testing::HttpServer;
using testing::ServedReply;
using testing::ServedRequest;
using testing::TokenSigner;
using testing::unsigned_token;

constexpr std::int64_t kNow = 1'800'000'000;

Json good_claims() {
  return {{"iss", "https://accounts.google.com"},
          {"aud", "https://b.run.app"},
          {"iat", kNow - 10},
          {"exp", kNow + 3590},
          {"email", "stage-a@p.iam.gserviceaccount.com"},
          {"email_verified", true}};
}

IdentityRules rules(std::string keys = {}, std::int64_t now = kNow) {
  IdentityRules rules;
  rules.audiences = {"https://b.run.app", "https://b-123.region.run.app"};
  rules.callers = {"stage-a@p.iam.gserviceaccount.com"};
  rules.keys = std::move(keys);
  rules.now = [now] { return std::chrono::system_clock::time_point(std::chrono::seconds(now)); };
  return rules;
}

/// What the check says to a token with these claims changed, on a platform that has checked the signature.
Code verdict(const Json& changes, std::int64_t now = kNow) {
  Json claims = good_claims();
  claims.update(changes);
  const auto check = IdentityCheck::create(rules({}, now)).value();
  const Status allowed = check->check("Bearer " + unsigned_token(claims));
  if (!allowed) {
    EXPECT_EQ(allowed.error().message().find(unsigned_token(claims).substr(0, 8)), std::string::npos);
  }
  return allowed ? Code::kOk : allowed.error().code();
}

TEST(IdentityCheck, LetsInTheAccountThatMayCall) {
  EXPECT_EQ(verdict(Json::object()), Code::kOk);
  EXPECT_EQ(verdict({{"aud", "https://b-123.region.run.app"}}), Code::kOk);
  EXPECT_EQ(verdict(Json::object(), kNow + 3600), Code::kOk) << "clocks may differ by half a minute";
}

TEST(IdentityCheck, RefusesEverythingElse) {
  EXPECT_EQ(verdict({{"aud", "https://c.run.app"}}), Code::kUnauthenticated);
  EXPECT_EQ(verdict({{"aud", "https://b.run.app/"}}), Code::kUnauthenticated);
  EXPECT_EQ(verdict({{"aud", Json::array({"https://b.run.app"})}}), Code::kUnauthenticated);
  EXPECT_EQ(verdict({{"iss", "https://accounts.example.com"}}), Code::kUnauthenticated);
  EXPECT_EQ(verdict({{"iss", nullptr}}), Code::kUnauthenticated);
  EXPECT_EQ(verdict({{"exp", nullptr}}), Code::kUnauthenticated);
  EXPECT_EQ(verdict({{"exp", "never"}}), Code::kUnauthenticated);
  EXPECT_EQ(verdict({{"iat", kNow + 600}}), Code::kUnauthenticated);
  EXPECT_EQ(verdict({{"nbf", kNow + 600}}), Code::kUnauthenticated);
  EXPECT_EQ(verdict({{"nbf", "later"}}), Code::kUnauthenticated);
  EXPECT_EQ(verdict({{"nbf", ~std::uint64_t{0}}}), Code::kUnauthenticated);
  EXPECT_EQ(verdict({{"iat", std::uint64_t{1} << 63}}), Code::kUnauthenticated);
  EXPECT_EQ(verdict({{"nbf", kNow - 600}}), Code::kOk);
  EXPECT_EQ(verdict({{"exp", 253'402'300'799}}), Code::kOk) << "the end of the year 9999, behind the clock's own end";
  EXPECT_EQ(verdict({{"email", "stage-b@p.iam.gserviceaccount.com"}}), Code::kPermissionDenied);
  EXPECT_EQ(verdict({{"email", nullptr}}), Code::kPermissionDenied);
  EXPECT_EQ(verdict({{"email_verified", false}}), Code::kPermissionDenied);
  EXPECT_EQ(verdict({{"email_verified", "true"}}), Code::kPermissionDenied);
}

TEST(IdentityCheck, RefusesATokenThatIsReplayedAfterItsTime) {
  const std::string token = "Bearer " + unsigned_token(good_claims());
  EXPECT_TRUE(IdentityCheck::create(rules({}, kNow)).value()->check(token).has_value());
  EXPECT_EQ(IdentityCheck::create(rules({}, kNow + 3700)).value()->check(token).error().code(), Code::kUnauthenticated);
}

TEST(IdentityCheck, RefusesWhatIsNoToken) {
  const auto check = IdentityCheck::create(rules()).value();
  for (const char* header : {"", "Bearer", "Bearer ", "Bearer x.y.z", "Basic dXNlcjpwdw==", "bearer"}) {
    EXPECT_EQ(check->check(header).error().code(), Code::kUnauthenticated) << header;
  }
}

TEST(IdentityCheck, ChecksTheSignatureWhereNoPlatformDoes) {
  const TokenSigner google("g1");
  const testing::TempFolder folder;
  const auto check = IdentityCheck::create(rules(folder.write("jwks.json", google.jwks()))).value();
  EXPECT_TRUE(check->check("Bearer " + google.sign(good_claims())).has_value());
  EXPECT_EQ(check->check("Bearer " + TokenSigner("g1").sign(good_claims())).error().code(), Code::kUnauthenticated);
  EXPECT_EQ(check->check("Bearer " + TokenSigner("g9").sign(good_claims())).error().code(), Code::kUnauthenticated);
  EXPECT_EQ(check->check("Bearer " + unsigned_token(good_claims())).error().code(), Code::kUnauthenticated);
  EXPECT_EQ(IdentityCheck::create(rules("/nowhere/jwks.json")).error().code(), Code::kNotFound);
  EXPECT_EQ(IdentityCheck::create(rules(folder.write("bad.json", "{}"))).error().code(), Code::kInvalidArgument);
}

TEST(IdentityCheck, BehindAPlatformASignatureThatIsStillThereIsChecked) {
  const TokenSigner google("g1");
  std::atomic<int> n_fetched = 0;
  const HttpServer server([&](const ServedRequest&) -> ServedReply {
    ++n_fetched;
    return {.body = google.jwks()};
  });
  IdentityRules behind = rules(server.url("/certs"));
  behind.may_be_stripped = true;
  const auto check = IdentityCheck::create(behind).value();
  EXPECT_TRUE(check->check("Bearer " + unsigned_token(good_claims())).has_value());
  EXPECT_EQ(n_fetched, 0) << "what the platform has checked needs no keys";
  EXPECT_TRUE(eventually([&] { return check->check("Bearer " + google.sign(good_claims())).has_value(); }));
  EXPECT_EQ(check->check("Bearer " + TokenSigner("g1").sign(good_claims())).error().code(), Code::kUnauthenticated);
  std::string nonsense = google.sign(good_claims());
  nonsense.resize(nonsense.rfind('.') + 1);
  EXPECT_EQ(check->check("Bearer " + nonsense + "bm9uc2Vuc2U").error().code(), Code::kUnauthenticated);
}

TEST(IdentityCheck, FetchesTheKeysOfAUrlBesideTheCalls) {
  const TokenSigner google("g1");
  std::atomic<bool> up = false;
  const HttpServer server([&](const ServedRequest&) -> ServedReply {
    return up ? ServedReply{.body = google.jwks()} : ServedReply{.status = 503};
  });
  const auto check = IdentityCheck::create(rules(server.url("/certs"))).value();
  const std::string token = "Bearer " + google.sign(good_claims());
  EXPECT_EQ(check->check(token).error().code(), Code::kUnavailable) << "no key, nobody comes in";
  up = true;
  EXPECT_TRUE(eventually([&] { return check->check(token).has_value(); }));
}

#ifdef COMMISSURE_FAILING_NEW
TEST(IdentityCheck, KeysThatThereIsNoMemoryForAreNotFetchedWithoutEnd) {
  constexpr std::size_t kMuch = 60'000;
  const auto check = IdentityCheck::create(rules("http://127.0.0.1:1/" + std::string(kMuch, 'k'))).value();
  const std::string token = "Bearer " + TokenSigner("g1").sign(good_claims());
  const FailingNew failing(kMuch);
  EXPECT_EQ(check->check(token).error().code(), Code::kUnavailable);
  ASSERT_TRUE(eventually([&] { return failing.n_failed() > 0; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_LT(failing.n_failed(), 10);
}
#endif

TEST(IdentityCheck, WantsToKnowWhomToLetIn) {
  IdentityRules nobody = rules();
  nobody.callers.clear();
  EXPECT_EQ(IdentityCheck::create(nobody).error().code(), Code::kInvalidArgument);
  IdentityRules nowhere = rules();
  nowhere.audiences.clear();
  EXPECT_EQ(IdentityCheck::create(nowhere).error().code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace commissure
