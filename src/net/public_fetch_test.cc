#include "net/public_fetch.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <string>

#include "support/http_server.h"

namespace commissure {
namespace {

using testing::HttpServer;
using testing::ServedReply;
using testing::ServedRequest;

AddressKind kind_of(const char* text) {
  sockaddr_in ipv4{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {}, .sin_zero = {}};
  if (inet_pton(AF_INET, text, &ipv4.sin_addr) == 1) return address_kind(reinterpret_cast<const sockaddr&>(ipv4));
  sockaddr_in6 ipv6{};
  ipv6.sin6_family = AF_INET6;
  EXPECT_EQ(inet_pton(AF_INET6, text, &ipv6.sin6_addr), 1) << text;
  return address_kind(reinterpret_cast<const sockaddr&>(ipv6));
}

/// What came, or the error's message.
std::string fetched(const std::string& url, const std::string& policy, std::uint64_t max_bytes = 1000,
                    std::chrono::milliseconds within = std::chrono::seconds(5)) {
  const FetchPolicy read = FetchPolicy::parse(policy).value();
  const auto body = public_fetch(
      {.url = url, .policy = read, .max_bytes = max_bytes, .deadline = std::chrono::steady_clock::now() + within});
  return body ? *body : body.error().message();
}

bool holds(const std::string& text, std::string_view what) { return text.find(what) != std::string::npos; }

TEST(PublicFetch, TellsPublicAddressesFromOthers) {
  for (const char* address : {"8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1",
                              "192.0.1.1", "223.255.255.255", "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8",
                              "64:ff9b::8.8.8.8", "2002:808:808::1"}) {
    EXPECT_EQ(kind_of(address), AddressKind::kPublic) << address;
  }
  for (const char* address : {"10.0.0.1", "127.0.0.1", "127.255.255.254", "172.16.0.1", "172.31.255.255", "192.168.1.1",
                              "100.64.0.1", "100.127.255.255", "::1", "fc00::1", "fd12:3456::1", "::ffff:127.0.0.1",
                              "::ffff:a00:1", "64:ff9b::10.0.0.1", "2002:7f00:1::", "2002:c0a8:101::1"}) {
    EXPECT_EQ(kind_of(address), AddressKind::kPrivate) << address;
  }
  for (const char* address : {"0.0.0.0",
                              "0.1.2.3",
                              "169.254.169.254",
                              "169.254.0.1",
                              "100.100.100.200",
                              "168.63.129.16",
                              "192.0.0.192",
                              "192.0.2.1",
                              "198.18.0.1",
                              "198.19.255.255",
                              "198.51.100.1",
                              "203.0.113.1",
                              "224.0.0.1",
                              "239.1.1.1",
                              "240.0.0.1",
                              "255.255.255.255",
                              "::",
                              "fe80::1",
                              "fec0::1",
                              "ff02::1",
                              "fd00:ec2::254",
                              "2001:db8::1",
                              "2001::1",
                              "3fff::1",
                              "64:ff9b:1::1",
                              "::8.8.8.8",
                              "100::1",
                              "::ffff:169.254.169.254",
                              "64:ff9b::a9fe:a9fe",
                              "2002:a9fe:a9fe::",
                              "4000::1"}) {
    EXPECT_EQ(kind_of(address), AddressKind::kNever) << address;
  }
}

TEST(PublicFetch, ConnectsToNoPrivateAddressHoweverItIsWritten) {
  const HttpServer server([](const ServedRequest&) -> ServedReply { return {.body = "secret"}; });
  const std::string port = server.url("").substr(server.url("").rfind(':'));
  for (const char* host : {"127.0.0.1",
                           "127.1",
                           "2130706433",
                           "0x7f000001",
                           "0x7f.1",
                           "0177.0.0.1",
                           "017700000001",
                           "0",
                           "0.0.0.0",
                           "localhost",
                           "LOCALHOST",
                           "localhost.",
                           "a.localhost",
                           "[::1]",
                           "[::]",
                           "[::ffff:127.0.0.1]",
                           "[::ffff:7f00:1]",
                           "[0:0:0:0:0:ffff:7f00:0001]",
                           "[64:ff9b::7f00:1]",
                           "[2002:7f00:1::]",
                           "169.254.169.254",
                           "[fd00:ec2::254]",
                           "metadata.google.internal",
                           "%31%32%37.0.0.1",
                           "[fe80::1%25lo]"}) {
    const std::string said = fetched("http://" + std::string(host) + port + "/?key=hidden", "public");
    EXPECT_TRUE(holds(said, "public host") || holds(said, "valid")) << host << ": " << said;
    EXPECT_FALSE(holds(said, "hidden")) << said;
  }
  EXPECT_EQ(server.n_connections(), 0);
}

TEST(PublicFetch, RefusesUrlsThatNoImageHas) {
  EXPECT_TRUE(holds(fetched("http://me:secret@example.org/", "public"), "user or password"));
  EXPECT_FALSE(holds(fetched("http://me:secret@example.org/", "public"), "secret"));
  EXPECT_TRUE(holds(fetched("http://example.org:22/", "public"), "port 22"));
  EXPECT_TRUE(holds(fetched("ftp://example.org/", "public"), "neither http nor https"));
  EXPECT_TRUE(holds(fetched("http://", "public"), "valid"));
  EXPECT_TRUE(holds(fetched(std::string("http://a\0b/", 11), "public"), "valid"));
  EXPECT_TRUE(holds(fetched("http://example.org/" + std::string(9000, 'a'), "public"), "longer"));
  EXPECT_TRUE(holds(fetched("https://example.org/", "off"), "fetches none"));
}

TEST(PublicFetch, FetchesFromHostsThatAreListed) {
  const HttpServer server([](const ServedRequest& request) -> ServedReply {
    EXPECT_EQ(request.headers.at("user-agent"), "commissure");
    EXPECT_EQ(request.headers.count("cookie") + request.headers.count("authorization"), 0u);
    return {.body = "bytes"};
  });
  const std::string authority = server.url("").substr(7);
  EXPECT_EQ(fetched(server.url("/a"), "127.0.0.1"), "bytes");
  EXPECT_EQ(fetched(server.url("/a"), "example.org," + authority), "bytes");
  EXPECT_EQ(fetched("http://2130706433" + authority.substr(9), "127.0.0.1"), "bytes") << "the same host";
  EXPECT_TRUE(holds(fetched(server.url("/a"), "127.0.0.1:81"), "not among"));
  EXPECT_TRUE(holds(fetched(server.url("/a"), ".0.0.1"), "public host")) << "only an exact entry may be private";
  EXPECT_TRUE(holds(fetched("http://badexample.org/", ".example.org"), "not among"));
  EXPECT_TRUE(holds(fetched("http://169.254.169.254/", "169.254.169.254"), "public host")) << "never";
  for (const char* text : {"", "a,", "a:", "a:0", "a:65536", "a:1x", "http://a", "a/b", ".", "*"}) {
    EXPECT_FALSE(FetchPolicy::parse(text).has_value()) << text;
  }
  EXPECT_EQ(FetchPolicy::parse("[::1]:80,b")->hosts.at(0).port, 80);
}

TEST(PublicFetch, ChecksEachRedirectAgain) {
  const HttpServer other([](const ServedRequest&) -> ServedReply { return {.body = "secret"}; });
  const HttpServer server([&](const ServedRequest& request) -> ServedReply {
    if (request.target == "/end") return {.body = "end"};
    std::string next = "/" + std::to_string(std::stoi("0" + request.target.substr(1)) - 1);
    if (request.target == "/1") next = "/end";
    if (request.target == "/90") next = other.url("/?key=hidden");
    if (request.target == "/91") next = "file:///etc/passwd";
    if (request.target == "/92") next = "http://me:pass@127.0.0.1/";
    return {.status = 302, .headers = {{"Location", next}}, .body = "moved"};
  });
  const std::string here = server.url("").substr(7);
  EXPECT_EQ(fetched(server.url("/3"), here), "end");
  EXPECT_TRUE(holds(fetched(server.url("/4"), here), "more than 3"));
  EXPECT_TRUE(holds(fetched(server.url("/90"), here), "not among"));
  EXPECT_FALSE(holds(fetched(server.url("/90"), here), "hidden"));
  EXPECT_TRUE(holds(fetched(server.url("/91"), here), "neither"));
  EXPECT_TRUE(holds(fetched(server.url("/92"), here), "user or password"));
  EXPECT_EQ(other.n_connections(), 0);
}

TEST(PublicFetch, IsBoundedInBytesAndTime) {
  const HttpServer server([](const ServedRequest& request) -> ServedReply {
    if (request.target == "/slow") return {.body = "late", .pause = std::chrono::minutes(1)};
    if (request.target == "/cut") return {.body = "0123456789", .cut_after = 4};
    if (request.target.starts_with("/gone")) return {.status = 404, .body = "nothing"};
    return {.body = std::string(1000, 'x')};
  });
  EXPECT_EQ(fetched(server.url("/"), "127.0.0.1", 1000).size(), 1000u);
  EXPECT_TRUE(holds(fetched(server.url("/"), "127.0.0.1", 999), "larger than the 999 bytes"));
  EXPECT_TRUE(holds(fetched(server.url("/slow"), "127.0.0.1", 9, std::chrono::milliseconds(60)), "in time"));
  EXPECT_TRUE(holds(fetched(server.url("/cut"), "127.0.0.1"), "could not be fetched"));
  EXPECT_TRUE(holds(fetched(server.url("/gone?key=hidden"), "127.0.0.1"), "HTTP status 404"));
  EXPECT_FALSE(holds(fetched(server.url("/gone?key=hidden"), "127.0.0.1"), "hidden"));

  int n_asked = 0;
  const FetchPolicy policy = FetchPolicy::parse("127.0.0.1").value();
  const auto ended = public_fetch({.url = server.url("/slow"),
                                   .policy = policy,
                                   .deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1),
                                   .is_cancelled = [&] { return ++n_asked > 3; }});
  EXPECT_EQ(ended.error().code(), Code::kCancelled);
}

}  // namespace
}  // namespace commissure
