#include "net/jwks.h"

#include <gtest/gtest.h>

#include "support/fake_tokens.h"
#include "support/test_ca.h"

namespace commissure {
namespace {

using testing::TokenSigner;

TEST(Jwks, KnowsItsOwnSignatureAndNoOther) {
  const TokenSigner signer("k1");
  const TokenSigner other("k1");
  const Jwks keys = Jwks::parse(signer.jwks()).value();
  EXPECT_TRUE(keys.has("k1"));
  const Json claims = {{"aud", "https://b"}};
  EXPECT_TRUE(keys.verify(parse_jwt(signer.sign(claims)).value()).has_value());
  EXPECT_FALSE(keys.verify(parse_jwt(other.sign(claims)).value()).has_value()) << "another key of the same name";
  EXPECT_FALSE(keys.verify(parse_jwt(testing::unsigned_token(claims)).value()).has_value());
  EXPECT_FALSE(keys.verify(parse_jwt(TokenSigner("k2").sign(claims)).value()).has_value());

  Jwt changed = parse_jwt(signer.sign(claims)).value();
  changed.signed_part.back() = changed.signed_part.back() == 'A' ? 'B' : 'A';
  EXPECT_FALSE(keys.verify(changed).has_value());
  Jwt symmetric = parse_jwt(signer.sign(claims)).value();
  symmetric.algorithm = "HS256";
  EXPECT_FALSE(keys.verify(symmetric).has_value());
  symmetric.algorithm = "none";
  symmetric.signature.clear();
  EXPECT_EQ(keys.verify(symmetric).error().code(), Code::kUnauthenticated);
}

TEST(Jwks, RefusesWhatIsNoKeySet) {
  for (const char* text :
       {"", "[]", "{}", "{\"keys\":7}", "{\"keys\":[]}", "{\"keys\":[7,{\"kty\":\"EC\",\"kid\":\"x\"}]}",
        "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"x\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}",
        "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"x\",\"n\":\"!\",\"e\":\"\"}]}"}) {
    EXPECT_EQ(Jwks::parse(text).error().code(), Code::kInvalidArgument) << text;
  }
}

}  // namespace
}  // namespace commissure
