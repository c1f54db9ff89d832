#include "http/http_parser.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>

namespace commissure {
namespace {

constexpr std::size_t kCuts[] = {1, 2, 3, 7, 64, 10'000};

/// The request in `text`, which arrives in pieces of `piece` bytes; nothing when it is refused.
std::optional<HttpRequest> parse(std::string text, std::size_t piece) {
  HttpParser parser(4096, 4096);
  std::string held;
  while (!parser.done()) {
    if (text.empty()) return std::nullopt;
    held += text.substr(0, piece);
    text.erase(0, piece);
    const auto step = parser.feed(held);
    if (step.status != 0) return std::nullopt;
    held.erase(0, step.used);
  }
  HttpRequest request;
  return parser.take(request) ? std::optional(request) : std::nullopt;
}

std::string chunked(const std::string& trailer) {
  return "POST /x HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer a\r\nTransfer-Encoding: "
         "chunked\r\n\r\n3\r\nabc\r\n0\r\n" +
         trailer + "\r\n";
}

TEST(HttpParser, HowLongAHeadMayBeDoesNotDependOnHowItIsCut) {
  for (const bool fits : {true, false}) {
    std::string text = "POST /x HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nX: ";
    text += std::string((fits ? 4096 : 4097) - text.size() - 4, 'x') + "\r\n\r\nabc";
    for (const std::size_t piece : kCuts) EXPECT_EQ(parse(text, piece).has_value(), fits) << piece;
    // The first piece ends behind a field, which the library takes at once and then counts no more.
    EXPECT_EQ(parse(text, text.find("Content")).has_value(), fits);
  }
}

TEST(HttpParser, TakesNoFieldFromBehindTheBody) {
  for (const std::size_t piece : kCuts) {
    const auto request = parse(chunked("Authorization: Bearer b\r\nOrigin: http://o\r\nX-Api-Key: k\r\n"), piece);
    ASSERT_TRUE(request.has_value()) << piece;
    EXPECT_EQ(request->headers.size(), 3u) << piece;
    EXPECT_EQ(*request->header("authorization"), "Bearer a") << piece;
    EXPECT_EQ(request->header("x-api-key"), nullptr) << piece;
    EXPECT_EQ(request->body, "abc") << piece;
  }
}

TEST(HttpParser, TakesAnEmptyChunkedBodyHoweverTheBytesAreCut) {
  for (const std::size_t piece : kCuts) {
    const auto request = parse("POST /x HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", piece);
    ASSERT_TRUE(request.has_value()) << piece;
    EXPECT_EQ(request->body, "") << piece;
  }
}

TEST(HttpParser, JudgesTheHeadAloneHoweverTheBytesAreCut) {
  for (const std::size_t piece : kCuts) {
    EXPECT_TRUE(parse(chunked("Host: u\r\n"), piece).has_value()) << piece;
    EXPECT_FALSE(parse(chunked("Transfer-Encoding: gzip\r\n"), piece).has_value()) << piece;
    EXPECT_FALSE(parse("POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: t\r\n\r\n", piece)) << piece;
    EXPECT_TRUE(parse("GET /x HTTP/1.1\r\nHost: t\r\n\r\n", piece)) << piece;
    EXPECT_FALSE(parse("GET /x HTTP/1.1\r\nHost: t\r\nHost: u\r\n\r\n", piece)) << piece;
  }
}

}  // namespace
}  // namespace commissure
