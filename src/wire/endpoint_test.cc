#include "wire/endpoint.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

TEST(Endpoint, ReadsEveryForm) {
  EXPECT_EQ(*parse_endpoint("127.0.0.1:9000"), (Endpoint{"127.0.0.1:9000", false, true}));
  EXPECT_EQ(*parse_endpoint("localhost:1"), (Endpoint{"localhost:1", false, true}));
  EXPECT_EQ(*parse_endpoint("[::1]:80"), (Endpoint{"[::1]:80", false, true}));
  EXPECT_EQ(*parse_endpoint("unix:/run/b.sock"), (Endpoint{"unix:/run/b.sock", false, true}));
  EXPECT_EQ(*parse_endpoint("unix:///run/b.sock"), (Endpoint{"unix:/run/b.sock", false, true}));
  EXPECT_EQ(*parse_endpoint("unix://///run/b.sock"), (Endpoint{"unix:/run/b.sock", false, true}));
  EXPECT_EQ(*parse_endpoint("http://127.0.0.1:9000"), (Endpoint{"127.0.0.1:9000", false, true}));
  EXPECT_EQ(*parse_endpoint("https://b-xyz.run.app"),
            (Endpoint{"b-xyz.run.app:443", true, false, "https://b-xyz.run.app"}));
  EXPECT_EQ(*parse_endpoint("https://b.example:8443/"),
            (Endpoint{"b.example:8443", true, false, "https://b.example:8443"}));
  EXPECT_EQ(*parse_endpoint("https://[fe80::1]"), (Endpoint{"[fe80::1]:443", true, false, "https://[fe80::1]"}));
  EXPECT_EQ(*parse_endpoint("[fe80::1%eth0]:80", true), (Endpoint{"[fe80::1%eth0]:80", false, false}));
}

TEST(Endpoint, RefusesPlaintextToAnotherMachineUnlessAllowed) {
  for (const char* text : {"10.0.0.2:9000", "http://b.internal:9000", "127.evil.example:9000", "[::2]:9000",
                           "127.0.0.1.evil.example:9000"}) {
    const auto refused = parse_endpoint(text);
    ASSERT_FALSE(refused.has_value());
    EXPECT_NE(refused.error().message().find("plaintext"), std::string::npos);
    EXPECT_TRUE(parse_endpoint(text, true).has_value());
  }
}

TEST(Endpoint, NamesWhatIsWrong) {
  for (const char* text : {"",
                           ":",
                           "host",
                           "127.0.0.1",
                           "127.0.0.1:",
                           "127.0.0.1:x",
                           "127.0.0.1:70000",
                           "unix:b.sock",
                           "unix://run/b.sock",
                           "https://",
                           "https://a b",
                           "http://user@127.0.0.1:1",
                           "::1:9000",
                           "127.0.0.1:-0",
                           "https://http://a",
                           "http://unix:9000",
                           "https://dns:443",
                           "[a b]:1",
                           "[]:1",
                           "[%eth0]:1",
                           "[::1%e/0]:1"}) {
    const auto refused = parse_endpoint(text, true);
    ASSERT_FALSE(refused.has_value()) << text;
    EXPECT_EQ(refused.error().code(), Code::kInvalidArgument);
  }
  EXPECT_FALSE(parse_endpoint("unix:/" + std::string(200, 'a')).has_value());
}

}  // namespace
}  // namespace commissure
