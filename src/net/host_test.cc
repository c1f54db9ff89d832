#include "net/host.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

TEST(Host, KnowsWhatCanOnlyMeanThisMachine) {
  for (const char* host : {"localhost", "LocalHost", "127.0.0.1", "127.255.3.4", "::1", "[::1]", "::ffff:127.0.0.1"}) {
    EXPECT_TRUE(is_loopback(host)) << host;
  }
  for (const char* host : {"127.evil.example", "127.0.0.1.evil.example", "127.", "127.1", "127.0.0.256", "0.0.0.0", "",
                           "localhost.evil.example", "[::1].evil.example", "[::2]", "::", "128.0.0.1", "[]"}) {
    EXPECT_FALSE(is_loopback(host)) << host;
  }
}

TEST(Host, TakesTheHostOutOfAnAuthority) {
  EXPECT_EQ(host_of("a.example"), "a.example");
  EXPECT_EQ(host_of("a.example:80"), "a.example");
  EXPECT_EQ(host_of("[::1]:80"), "[::1]");
  EXPECT_EQ(host_of("127.0.0.1@a.example:80"), "a.example") << "what stands before the @ is a user's name";
  EXPECT_EQ(host_of("[::1"), "");
}

TEST(Host, PutsBracketsAroundIPv6) {
  EXPECT_EQ(host_and_port("0.0.0.0", 80), "0.0.0.0:80");
  EXPECT_EQ(host_and_port("::", 80), "[::]:80");
  EXPECT_EQ(host_and_port("[::1]", 80), "[::1]:80");
}

}  // namespace
}  // namespace commissure
