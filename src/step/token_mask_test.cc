#include "step/token_mask.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

std::vector<int> tokens_of(const TokenMask& mask) {
  std::vector<int> tokens;
  mask.each([&](TokenId token) { tokens.push_back(token.value); });
  return tokens;
}

TEST(TokenMask, HasTheTokensOfItsBits) {
  const TokenMask mask({0x80000001u, 0u, 0x2u, 0u});
  EXPECT_EQ(tokens_of(mask), (std::vector<int>{0, 31, 65}));
  EXPECT_EQ(mask.n_tokens(), 3u);
  EXPECT_TRUE(mask.has(0) && mask.has(31) && mask.has(65));
  EXPECT_FALSE(mask.has(1) || mask.has(32) || mask.has(64) || mask.has(5000));
}

TEST(TokenMask, EqualSetsAreEqualMasks) {
  EXPECT_EQ(TokenMask({5u}), TokenMask({5u, 0u, 0u}));
  EXPECT_NE(TokenMask({5u}), TokenMask({5u, 1u}));
  EXPECT_TRUE(TokenMask().empty());
  EXPECT_TRUE(TokenMask({0u, 0u}).empty());
}

TEST(TokenMask, KnowsHowManyBytesItMayTake) {
  EXPECT_GE(TokenMask::most_bytes(262'144), 262'144u / 8);
  EXPECT_LT(TokenMask::most_bytes(262'144), 262'144u / 8 + 64);
}

}  // namespace
}  // namespace commissure
