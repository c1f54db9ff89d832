#include "grammar/utf8_tokens.h"

#include <gtest/gtest.h>

#include "text/utf8.h"

namespace commissure {
namespace {

int after(std::string_view text) { return Utf8State::next(Utf8State::kStart, text); }

TEST(Utf8State, AgreesWithTheDecoderOnEveryTextOfTwoBytesAndMore) {
  for (int first = 0; first < 256; ++first) {
    for (int second = 0; second < 256; ++second) {
      for (const char* rest : {"", "\x80", "\xbf\x80", "\x80\x80\x80"}) {
        const std::string text = std::string({static_cast<char>(first), static_cast<char>(second)}) + rest;
        const std::size_t n_valid = valid_utf8_prefix(text);
        const bool is_whole = n_valid == text.size();
        const CodePoint cut = decode_code_point(text, n_valid);
        EXPECT_EQ(after(text) == Utf8State::kStart, is_whole) << first << " " << second << " " << rest;
        EXPECT_EQ(after(text) != Utf8State::kBroken, is_whole || cut.is_cut) << first << " " << second << " " << rest;
      }
    }
  }
}

TEST(Utf8State, NoSurrogateAndNothingOverlongIsACharacter) {
  for (const char* text : {"\xed\xa0\x80", "\xed\xbf", "\xe0\x80", "\xc0\x80", "\xc1", "\xf0\x80", "\xf4\x90", "\xf5",
                           "\x80", "a\xffz", "\xe2\x82z"}) {
    EXPECT_EQ(after(text), Utf8State::kBroken) << text;
  }
  for (const char* text : {"", "a", "ä", "€", "😀", "\xed\x9f\xbf", "\xee\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_EQ(after(text), Utf8State::kStart) << text;
  }
}

std::vector<int> kept(const std::vector<std::string>& texts, std::string_view before) {
  std::vector<std::uint32_t> words((texts.size() + 31) / 32, ~std::uint32_t{0});
  words.push_back(~std::uint32_t{0});  // rows without a token
  Utf8Tokens(texts).keep(after(before), words);
  std::vector<int> tokens;
  for (int i = 0; i < static_cast<int>(words.size()) * 32; ++i) {
    if (words[static_cast<std::size_t>(i) / 32] >> (i % 32) & 1) tokens.push_back(i);
  }
  return tokens;
}

TEST(Utf8Tokens, TheTokensThatMayFollowDependOnTheBytesBefore) {
  const std::vector<std::string> texts = {"a", "", "\xed", "\xa0\x80", "\x9f\xbfz", "\xe2\x82", "\xac", "ä\xed\xa0"};
  EXPECT_EQ(kept(texts, ""), (std::vector<int>{0, 1, 2, 5}));
  EXPECT_EQ(kept(texts, "\xed"), (std::vector<int>{1, 4}));
  EXPECT_EQ(kept(texts, "x\xe2\x82"), (std::vector<int>{1, 6}));
}

TEST(Utf8Tokens, EveryWordIsCleared) {
  std::vector<std::string> texts(70, "\xff");
  texts[69] = "z";
  EXPECT_EQ(kept(texts, ""), std::vector<int>{69});
}

}  // namespace
}  // namespace commissure
