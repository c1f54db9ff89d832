#include "api/openai.h"

#include <gtest/gtest.h>

#include <limits>

#include "support/fake_engine.h"

namespace commissure {
namespace {

ScoredToken scored(int token, float logprob, std::vector<TokenLogprob> top = {}) {
  return {{TokenId(token), logprob}, std::move(top)};
}

TEST(ChatLogprobs, GiveBytesOfPartialCodePoints) {
  const testing::ByteTokenizer tokenizer;
  const GeneratedToken token{TokenId(0xC3), "\xC3", scored(0xC3, -1.0f, {{TokenId(65), -0.5f}})};
  const Json content = chat_logprobs(tokenizer, {token})["content"];
  EXPECT_EQ(content[0]["bytes"], Json::array({0xC3}));
  EXPECT_EQ(content[0]["top_logprobs"][0]["token"], "A");
  EXPECT_NE(dump_json(content).find("\xEF\xBF\xBD"), std::string::npos);  // the text itself shows U+FFFD
}

TEST(ChatLogprobs, AreFinite) {
  const testing::ByteTokenizer tokenizer;
  const GeneratedToken token{TokenId(65), "A", scored(65, -std::numeric_limits<float>::infinity())};
  EXPECT_EQ(chat_logprobs(tokenizer, {token})["content"][0]["logprob"], -9999.0);
}

TEST(CompletionLogprobs, StartWithNullAndCountCodePoints) {
  const testing::ByteTokenizer tokenizer;
  CompletionLogprobs logprobs(tokenizer);
  logprobs.add_prompt({TokenId(256), TokenId(0xC3), TokenId(0xA9), TokenId(65)}, "\u00e9A",
                      {scored(0xC3, -1), scored(0xA9, -2), scored(65, -3, {{TokenId(66), -0.5f}, {TokenId(67), -1}})},
                      1);
  const Json prompt = logprobs.take();
  EXPECT_EQ(prompt["tokens"], (Json{"<bos>", "bytes:\\xc3", "bytes:\\xa9", "A"}));
  EXPECT_EQ(prompt["token_logprobs"], (Json{nullptr, -1.0, -2.0, -3.0}));
  EXPECT_EQ(prompt["text_offset"], (Json{0, 0, 0, 1}));
  EXPECT_TRUE(prompt["top_logprobs"][0].is_null());
  EXPECT_EQ(prompt["top_logprobs"][3], (Json{{"B", -0.5}, {"A", -3.0}}));  // the chosen one is always in it
  logprobs.add({{TokenId(66), "B", scored(66, -0.25f)}});
  EXPECT_EQ(logprobs.take()["text_offset"], (Json::array({2})));
}

/// Offsets of an echoed prompt and, behind it, of an answer.
Json offsets(const Tokenizer& tokenizer, const std::vector<int>& prompt, const char* text,
             const std::vector<std::string>& answer) {
  const auto ids = [](const auto& values) {
    std::vector<TokenId> tokens;
    for (const int value : values) tokens.emplace_back(value);
    return tokens;
  };
  CompletionLogprobs logprobs(tokenizer);
  logprobs.add_prompt(ids(prompt), text, {}, 0);
  for (const std::string& bytes : answer)
    logprobs.add({{TokenId(static_cast<unsigned char>(bytes.empty() ? '\0' : bytes[0])), bytes, {}}});
  return logprobs.take()["text_offset"];
}

TEST(CompletionLogprobs, OffsetsAreThoseOfTheTextThatIsShown) {
  const testing::ByteTokenizer tokenizer;
  // A control token takes room only where the text spells it; the answer begins behind the whole text.
  EXPECT_EQ(offsets(tokenizer, {256, 'a', 'b'}, "ab", {"c", "d"}), (Json{0, 0, 1, 2, 3}));
  EXPECT_EQ(offsets(tokenizer, {'a', 256, 'b'}, "a<bos>b", {"c"}), (Json{0, 1, 6, 7}));
  // All tokens of one character have its offset.
  EXPECT_EQ(offsets(tokenizer, {'a'}, "a", {"\xf0\x9f", "\x98", "\x80", "b"}), (Json{0, 1, 1, 1, 2}));
  // What never becomes a character is shown as one.
  EXPECT_EQ(offsets(tokenizer, {0xF0, 'a', 0xFF, 'b'}, "\uFFFDa\uFFFDb", {}), (Json{0, 1, 2, 3}));
  EXPECT_EQ(offsets(tokenizer, {'a'}, "a", {"\xf0\x9f", "b", "\xff", "", "c"}), (Json{0, 1, 2, 3, 4, 4}));
  // A text that a normaliser made shorter does not run over its end.
  EXPECT_EQ(offsets(tokenizer, {'x', 'y', 'z'}, "\u00e9", {"c"}), (Json{0, 1, 1, 1}));
}

/// As SentencePiece's: the first word brings a space that is no part of the text.
class SpacedTokenizer final : public testing::ByteTokenizer {
 public:
  std::string token_bytes(TokenId token, bool) const override { return token.value == 1 ? " Hello" : " world"; }
  bool strips_leading_space() const override { return true; }
  bool is_control(TokenId) const override { return false; }
};

TEST(CompletionLogprobs, TheSpaceInFrontOfATextIsNoCharacterOfIt) {
  EXPECT_EQ(offsets(SpacedTokenizer(), {1, 2}, "Hello world", {" again"}), (Json{0, 5, 11}));
}

TEST(PromptLogprobs, NameTheLikeliestAndThePromptsOwn) {
  const testing::ByteTokenizer tokenizer;
  const Json scores = prompt_logprobs(
      tokenizer, {scored(66, -3, {{TokenId(65), -0.5f}, {TokenId(67), -1}}), scored(65, -0.5f, {{TokenId(65), -0.5f}})},
      1);
  const Json likeliest = {{"logprob", -0.5}, {"rank", 1}, {"decoded_token", "A"}};
  const Json own = {{"logprob", -3.0}, {"rank", nullptr}, {"decoded_token", "B"}};
  EXPECT_EQ(scores, (Json{nullptr, {{"66", own}, {"65", likeliest}}, {{"65", likeliest}}}));
}

TEST(RandomId, DiffersEachTime) {
  EXPECT_NE(random_id("x-"), random_id("x-"));
  EXPECT_EQ(random_id("x-").size(), 26u);
}

}  // namespace
}  // namespace commissure
