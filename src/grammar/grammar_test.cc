#include "grammar/grammar.h"

#include <gtest/gtest.h>

#include <random>

#include "support/fake_tokenizer.h"

namespace commissure {
namespace {

using Form = GrammarSource::Form;

std::shared_ptr<GrammarCompiler> compiler() {
  return GrammarCompiler::create(std::make_shared<FakeTokenizer>(), 320, {TokenId(FakeTokenizer::kEos)});
}

/// A text that the grammar allows, drawn token by token; closing quotes and brackets are drawn more often, so that it
/// ends.
std::string walk(const Grammar& grammar, std::uint32_t seed) {
  std::mt19937 random(seed);
  const std::unique_ptr<GrammarMatcher> matcher = grammar.match();
  std::string text;
  for (int i = 0; i < 4000; ++i) {
    const auto mask = matcher->mask();
    EXPECT_TRUE(mask.has_value()) << text;
    if (!mask) return text;
    std::vector<TokenId> allowed, closing;
    mask->each([&](TokenId token) {
      allowed.push_back(token);
      const bool closes = token.value == '"' || token.value == '}' || token.value == ']' || token.value >= 256;
      if (closes) closing.push_back(token);
    });
    const bool may_close = !closing.empty() && random() % 4 == 0;
    const std::vector<TokenId>& from = may_close ? closing : allowed;
    const TokenId token = from[random() % from.size()];
    EXPECT_TRUE(matcher->accept(token).has_value());
    if (token.value == FakeTokenizer::kEos) return text;
    EXPECT_LT(token.value, 256);
    text.push_back(static_cast<char>(token.value));
  }
  ADD_FAILURE() << "no end: " << text;
  return text;
}

TEST(Grammar, HoldsTextsToAJsonSchema) {
  const auto grammar = compiler()->compile(GrammarSource::of(
      Form::kJsonSchema,
      R"({"type":"object","properties":{"name":{"type":"string","maxLength":5},"age":{"type":"integer"}},"required":["name","age"]})"));
  ASSERT_TRUE(grammar.has_value()) << grammar.error().message();
  for (std::uint32_t seed = 0; seed < 50; ++seed) {
    const std::string text = walk(**grammar, seed);
    const auto value = parse_json(text);
    ASSERT_TRUE(value.has_value()) << text << ": " << value.error().message();
    EXPECT_TRUE((*value)["name"].is_string() && (*value)["age"].is_number_integer()) << text;
  }
}

}  // namespace
}  // namespace commissure
