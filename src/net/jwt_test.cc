#include "net/jwt.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

// {"alg":"RS256","kid":"k1"} . {"iss":"https://accounts.google.com","exp":1893456000,"email_verified":true} . "sig"
constexpr std::string_view kToken =
    "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsxIn0."
    "eyJpc3MiOiJodHRwczovL2FjY291bnRzLmdvb2dsZS5jb20iLCJleHAiOjE4OTM0NTYwMDAsImVtYWlsX3ZlcmlmaWVkIjp0cnVlfQ."
    "c2ln";

TEST(Jwt, TakesATokenApart) {
  const auto jwt = parse_jwt(kToken);
  ASSERT_TRUE(jwt.has_value()) << jwt.error().message();
  EXPECT_EQ(jwt->algorithm, "RS256");
  EXPECT_EQ(jwt->key_id, "k1");
  EXPECT_EQ(jwt->text("iss"), "https://accounts.google.com");
  EXPECT_EQ(jwt->text("email_verified"), "") << "no text";
  EXPECT_EQ(jwt->expires()->time_since_epoch(), std::chrono::seconds(1893456000));
  EXPECT_EQ(jwt->signature, "sig");
  EXPECT_EQ(jwt->signed_part, kToken.substr(0, kToken.rfind('.')));
}

TEST(Jwt, RefusesWhatIsNoneWithoutQuotingIt) {
  const std::string header(kToken.substr(0, kToken.find('.')));
  const std::string cases[] = {"",
                               "secret",
                               "a.b",
                               "a.b.c.d",
                               "c2VjcmV0.c2VjcmV0.c2ln",
                               header + ".secret!.c2ln",
                               header + ".W10.c2ln",
                               header + "." + header + ".secret!",
                               std::string(20'000, 'A')};
  for (const std::string& token : cases) {
    const auto jwt = parse_jwt(token);
    ASSERT_FALSE(jwt.has_value()) << token;
    EXPECT_EQ(jwt.error().code(), Code::kInvalidArgument);
    EXPECT_EQ(jwt.error().message().find("secret"), std::string::npos) << jwt.error().message();
    EXPECT_EQ(jwt.error().message().find("c2VjcmV0"), std::string::npos) << jwt.error().message();
  }
}

TEST(Jwt, BelievesOnlyAnExpiryThatIsATime) {
  for (const char* claims :
       {"{}", "{\"exp\":-1}", "{\"exp\":\"x\"}", "{\"exp\":1e300}", "{\"exp\":9223372036854775807}"}) {
    Jwt jwt;
    jwt.claims = parse_json(claims).value();
    EXPECT_FALSE(jwt.expires().has_value()) << claims;
  }
}

TEST(Jwt, ExpiresWithTheClockAtTheLatest) {
  using std::chrono::system_clock;
  Jwt jwt;
  for (const std::int64_t exp : {9'223'372'036, 9'223'372'037, 99'999'999'999, 253'402'300'799}) {
    jwt.claims = {{"exp", exp}};
    const auto expires = jwt.expires();
    ASSERT_TRUE(expires.has_value()) << exp;
    EXPECT_GT(*expires, system_clock::from_time_t(9'000'000'000)) << exp;
    EXPECT_LT(*expires, system_clock::time_point::max() - std::chrono::hours(1))
        << exp << ": room for a skew of clocks";
  }
}

TEST(Base64Url, DecodesEveryLengthAndOneSpellingOnly) {
  EXPECT_EQ(decode_base64url("").value(), "");
  EXPECT_EQ(decode_base64url("Zg").value(), "f");
  EXPECT_EQ(decode_base64url("Zm8").value(), "fo");
  EXPECT_EQ(decode_base64url("Zm9v").value(), "foo");
  EXPECT_EQ(decode_base64url("-_-_").value(), "\xfb\xff\xbf");
  for (const char* wrong : {"Z", "Zh", "Zm9=", "Zm 9", "Zm9v+/"}) EXPECT_FALSE(decode_base64url(wrong)) << wrong;
}

}  // namespace
}  // namespace commissure
