#include "engine/text_stream.h"

#include <gtest/gtest.h>

#include "support/fake_tokenizer.h"

namespace commissure {
namespace {

struct Collected {
  std::string text;
  std::string token_bytes;
  std::optional<std::string> matched;
};

Collected collect(std::string_view bytes, std::vector<std::string> stops, bool include_stop = false) {
  const FakeTokenizer tokenizer;
  TextStream stream(tokenizer, std::move(stops), include_stop);
  Collected all;
  const auto take = [&](const TextStream::Output& output) {
    all.text += output.text;
    for (const GeneratedToken& token : output.tokens) all.token_bytes += token.bytes;
    if (output.matched) all.matched = output.matched;
    EXPECT_LE(all.token_bytes.size(), all.text.size()) << "a token is out before its text";
  };
  for (const char byte : bytes) {
    if (!all.matched) take(stream.push(TokenId(static_cast<unsigned char>(byte)), std::nullopt));
  }
  if (!all.matched) take(stream.finish());
  return all;
}

TEST(TextStream, SendsTokensWithTheirText) {
  const Collected all = collect("plain h\xc3\xa4 \xf0\x9f\x98\x80.", {});
  EXPECT_EQ(all.text, "plain h\xc3\xa4 \xf0\x9f\x98\x80.");
  EXPECT_EQ(all.token_bytes, all.text);
}

TEST(TextStream, HoldsTheTokensOfAPossibleStopString) {
  const FakeTokenizer tokenizer;
  TextStream stream(tokenizer, {"END"}, false);
  EXPECT_EQ(stream.push(TokenId('E'), std::nullopt).tokens.size(), 0u);
  EXPECT_EQ(stream.push(TokenId('N'), std::nullopt).text, "");
  const TextStream::Output output = stream.push(TokenId('x'), std::nullopt);
  EXPECT_EQ(output.text, "ENx");
  EXPECT_EQ(output.tokens.size(), 3u);
}

TEST(TextStream, AStopStringAndItsTokensStayIn) {
  const Collected all = collect("so END and more", {"END"});
  EXPECT_EQ(all.text, "so ");
  EXPECT_EQ(all.token_bytes, "so ");
  EXPECT_EQ(all.matched, "END");
}

TEST(TextStream, AStopStringIsSentWhenAskedFor) {
  const Collected all = collect("so END and more", {"END"}, true);
  EXPECT_EQ(all.text, "so END");
  EXPECT_EQ(all.token_bytes, "so END");
}

TEST(TextStream, HeldTextComesOutAtTheEnd) {
  const Collected all = collect("so EN", {"END"});
  EXPECT_EQ(all.text, "so EN");
  EXPECT_EQ(all.token_bytes, "so EN");
  EXPECT_FALSE(all.matched.has_value());
}

TEST(TextStream, AnUnfinishedCodePointIsReplacedAtTheEnd) {
  EXPECT_EQ(collect("a\xf0\x9f", {}).text.substr(0, 4), "a\xef\xbf\xbd");
}

TEST(TextStream, TokensThatAStopHeldKeepTheirPlaces) {
  const FakeTokenizer tokenizer;
  TextStream stream(tokenizer, {"aaaaaaaab"}, false);
  std::string text, bytes;
  for (const char c : std::string_view("xaaaaaaaac")) {
    const auto output = stream.push(TokenId(static_cast<unsigned char>(c)), std::nullopt);
    text += output.text;
    for (const GeneratedToken& token : output.tokens) bytes += token.bytes;
    EXPECT_EQ(bytes, text);
  }
  EXPECT_EQ(text, "xaaaaaaaac");
}

}  // namespace
}  // namespace commissure
