#include "engine/held_answer.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "support/engine_test_support.h"

namespace commissure {
namespace {

/// Allows exactly one text, and an end behind it.
class OneText final : public Grammar {
 public:
  explicit OneText(std::string text) : text_(std::move(text)) {}

  std::unique_ptr<GrammarMatcher> match() const override { return std::make_unique<Matcher>(text_); }
  std::size_t n_bytes() const override { return text_.size(); }

 private:
  class Matcher final : public GrammarMatcher {
   public:
    explicit Matcher(std::string text) : text_(std::move(text)) {}
    Result<TokenMask> mask() override {
      std::vector<std::uint32_t> words(9);
      const int token = may_end() ? FakeTokenizer::kEos : static_cast<unsigned char>(text_[at_]);
      words[static_cast<std::size_t>(token) / 32] |= 1u << (token % 32);
      return TokenMask(words);
    }
    Status accept(TokenId token) override { return accept_text(std::string(1, static_cast<char>(token.value))); }
    Status accept_text(const std::string& text) override {
      if (!text_.substr(at_).starts_with(text)) return Error(Code::kInvalidArgument, "not '", text, "'");
      at_ += text.size();
      return {};
    }
    bool may_end() const override { return at_ == text_.size(); }

   private:
    const std::string text_;
    std::size_t at_ = 0;
  };

  const std::string text_;
};

AnswerGrammar exactly(std::string text) { return {.grammar = std::make_shared<OneText>(std::move(text))}; }

GenerationRequest held_request(int n_prompt, std::string text, std::uint64_t seed = 1) {
  GenerationRequest request = make_request(n_prompt, 600, seed);
  request.grammar = exactly(std::move(text));
  return request;
}

HeldAnswer held(AnswerGrammar grammar) {
  static const FakeTokenizer tokenizer;
  return HeldAnswer(tokenizer, std::move(grammar), {TokenId(FakeTokenizer::kEos)});
}

Status accept(HeldAnswer& answer, std::string_view text) {
  for (const char c : text) {
    if (Status taken = answer.accept(TokenId(static_cast<unsigned char>(c))); !taken) return taken;
  }
  return {};
}

TEST(HeldAnswer, AnswersAreWhatTheGrammarSays) {
  Bench bench;
  const Answer answer = run_one(bench.start(), held_request(70, "{\"a\": [1, 2]}"));
  EXPECT_EQ(answer.text, "{\"a\": [1, 2]}");
  EXPECT_EQ(answer.finish, FinishReason::kStop);
  EXPECT_EQ(answer.usage.completion_tokens, 13) << "no draw for an end that is all there can be";
}

TEST(HeldAnswer, EndsWhereEndTokensAreBanned) {
  Bench bench;
  GenerationRequest request = held_request(3, "yes");
  request.ignore_eos = true;
  request.sampling.min_tokens = 50;
  const Answer answer = run_one(bench.start(), request);
  EXPECT_EQ(answer.text, "yes");
  EXPECT_EQ(answer.finish, FinishReason::kStop);
}

TEST(HeldAnswer, IsCutAtTheMostTokens) {
  Bench bench;
  GenerationRequest request = held_request(3, "a long text");
  request.max_tokens = 4;
  const Answer answer = run_one(bench.start(), request);
  EXPECT_EQ(answer.text, "a lo");
  EXPECT_EQ(answer.finish, FinishReason::kLength);
}

TEST(HeldAnswer, SharesStepsWithFreeOnes) {
  const std::vector<GenerationRequest> free = mixed_requests(12);
  const std::vector<Answer> alone = run_alone(free);
  std::vector<GenerationRequest> all;
  for (const GenerationRequest& request : free) {
    all.push_back(request);
    all.push_back(held_request(5, "held number " + std::to_string(all.size()), all.size() + 900));
  }
  Bench bench;
  const std::vector<Answer> together = run_together(bench.start(), all);
  for (std::size_t i = 0; i < free.size(); ++i) {
    EXPECT_TRUE(together[2 * i].same(alone[i])) << together[2 * i].text;
    EXPECT_EQ(together[2 * i + 1].text, "held number " + std::to_string(2 * i + 1));
  }
}

TEST(HeldAnswer, GoesOnWhereTheChainBroke) {
  for (const StageSpan lost : {kAllStages, StageSpan{}, StageSpan{1, 1}}) {
    Bench bench;
    bench.chain.loses = lost;
    for (const std::uint64_t at : {3u, 9u, 14u, 15u}) bench.chain.faults.push_back({.at = at});
    const std::string text = "the same text, whatever breaks";
    const Answer answer = run_one(bench.start(), held_request(40, text));
    EXPECT_EQ(answer.text, text);
    EXPECT_EQ(answer.finish, FinishReason::kStop);
    EXPECT_GT(bench.engine->stats().replays + bench.engine->stats().kept, 0u);
  }
}

TEST(HeldAnswer, ThoughtsAreFree) {
  AnswerGrammar grammar = exactly("{}");
  grammar.thought_end = "</t>";
  grammar.is_thinking = true;
  HeldAnswer answer = held(grammar);
  ASSERT_TRUE(answer.begin().has_value());
  ASSERT_TRUE(accept(answer, "hm } </").has_value());
  EXPECT_TRUE(answer.mask()->empty());
  EXPECT_FALSE(answer.is_over());
  ASSERT_TRUE(accept(answer, "t>").has_value());
  EXPECT_TRUE(answer.mask()->has('{'));
  EXPECT_EQ(answer.mask()->n_tokens(), 1u);
  ASSERT_TRUE(accept(answer, "{}").has_value());
  EXPECT_TRUE(answer.is_over());
}

TEST(HeldAnswer, MayBeginWithAThoughtOnceAndOnlyFirst) {
  AnswerGrammar grammar = exactly("{}");
  grammar.thought_end = ">";
  grammar.thought_begin = TokenId(FakeTokenizer::kControl);
  HeldAnswer answer = held(grammar);
  EXPECT_TRUE(answer.mask()->has(FakeTokenizer::kControl) && answer.mask()->has('{'));
  ASSERT_TRUE(answer.accept(TokenId(FakeTokenizer::kControl)).has_value());
  EXPECT_TRUE(answer.mask()->empty());
  ASSERT_TRUE(accept(answer, "x>").has_value());
  EXPECT_FALSE(answer.mask()->has(FakeTokenizer::kControl));
  HeldAnswer other = held(grammar);
  ASSERT_TRUE(accept(other, "{").has_value());
  EXPECT_FALSE(other.mask()->has(FakeTokenizer::kControl));
}

TEST(HeldAnswer, AFreeBeginningEndsTheHold) {
  AnswerGrammar grammar = exactly("{}");
  grammar.free_beginnings = {TokenId('<')};
  HeldAnswer answer = held(grammar);
  EXPECT_TRUE(answer.mask()->has('<') && answer.mask()->has('{'));
  ASSERT_TRUE(accept(answer, "<anything").has_value());
  EXPECT_TRUE(answer.mask()->empty());
  EXPECT_FALSE(answer.is_over());
}

TEST(HeldAnswer, GoesOnBehindWhatThePromptHasBegun) {
  AnswerGrammar grammar = exactly("{\"a\":1}");
  grammar.begun = "{\"a\"";
  HeldAnswer answer = held(grammar);
  ASSERT_TRUE(answer.begin().has_value());
  EXPECT_TRUE(answer.mask()->has(':'));
  grammar.begun = "[";
  EXPECT_EQ(held(grammar).begin().error().code(), Code::kInvalidArgument);
}

/// A token that ends a thought and brings the text's beginning along.
class EndingTokenizer : public FakeTokenizer {
 public:
  std::string token_bytes(TokenId token, bool show_control) const override {
    return token == TokenId('Z') ? ">{" : FakeTokenizer::token_bytes(token, show_control);
  }
};

TEST(HeldAnswer, WhatAThoughtsLastTokenBringsAlongIsFollowed) {
  const EndingTokenizer tokenizer;
  AnswerGrammar grammar = exactly("{}");
  grammar.thought_end = ">";
  grammar.thought_begin = TokenId(FakeTokenizer::kControl);
  HeldAnswer answer(tokenizer, grammar, {TokenId(FakeTokenizer::kEos)});
  EXPECT_TRUE(answer.mask()->has('{'));
  ASSERT_TRUE(answer.accept(TokenId(FakeTokenizer::kControl)).has_value() && answer.accept(TokenId('Z')).has_value());
  EXPECT_TRUE(answer.mask()->has('}')) << "not the mask of the beginning";
  EXPECT_FALSE(answer.mask()->has('{'));
}

TEST(HeldAnswer, ACallMayFollowAThought) {
  AnswerGrammar grammar = exactly("{}");
  grammar.thought_end = ">";
  grammar.thought_begin = TokenId(FakeTokenizer::kControl);
  grammar.free_beginnings = {TokenId('<')};
  for (const bool is_thinking : {true, false}) {
    grammar.is_thinking = is_thinking;
    HeldAnswer answer = held(grammar);
    if (!is_thinking) {
      EXPECT_TRUE(answer.mask()->has(FakeTokenizer::kControl));
      ASSERT_TRUE(answer.accept(TokenId(FakeTokenizer::kControl)).has_value());
    }
    ASSERT_TRUE(accept(answer, "hm>").has_value());
    EXPECT_TRUE(answer.mask()->has('<') && answer.mask()->has('{'));
    EXPECT_FALSE(answer.mask()->has(FakeTokenizer::kControl)) << "one thought";
    ASSERT_TRUE(accept(answer, "<call").has_value());
    EXPECT_TRUE(answer.mask()->empty());
  }
}

/// Allows any text of the letter a, and one of its calls takes `seconds`.
class Slow final : public Grammar {
 public:
  enum class In { kMask, kAccept, kAcceptText };
  static inline double spent = 0;
  Slow(In in, double seconds) : in_(in), seconds_(seconds) {}
  std::unique_ptr<GrammarMatcher> match() const override { return std::make_unique<Matcher>(*this); }
  std::size_t n_bytes() const override { return 0; }

 private:
  class Matcher final : public GrammarMatcher {
   public:
    explicit Matcher(const Slow& slow) : slow_(slow) {}
    Result<TokenMask> mask() override {
      work(In::kMask);
      return TokenMask({0, 0, 0, 1u << ('a' % 32)});
    }
    Status accept(TokenId) override {
      work(In::kAccept);
      return {};
    }
    Status accept_text(const std::string&) override {
      work(In::kAcceptText);
      return {};
    }
    bool may_end() const override { return true; }

   private:
    void work(In in) const {
      if (in == slow_.in_) spent += slow_.seconds_;
    }
    const Slow& slow_;
  };
  const In in_;
  const double seconds_;
};

HeldAnswer slow(Slow::In in, double seconds) {
  static const FakeTokenizer tokenizer;
  AnswerGrammar grammar{.grammar = std::make_shared<Slow>(in, seconds), .begun = "x", .thought_end = ">"};
  grammar.is_thinking = true;
  return HeldAnswer(tokenizer, std::move(grammar), {}, [] { return Slow::spent; });
}

TEST(HeldAnswer, EveryCallOfTheGrammarIsOnOneAccount) {
  for (const Slow::In in : {Slow::In::kMask, Slow::In::kAccept}) {
    HeldAnswer answer = slow(in, 0.9);
    ASSERT_TRUE(answer.begin().has_value() && answer.accept(TokenId('>')).has_value());
    Status went;
    int n_tokens = 0;
    for (; went && n_tokens < 10; ++n_tokens) {
      const auto mask = answer.mask();
      went = mask ? answer.accept(TokenId('a')) : Status(tl::unexpected(mask.error()));
      if (went) EXPECT_FALSE(answer.is_over());
    }
    ASSERT_FALSE(went.has_value());
    EXPECT_LE(n_tokens, 3);
    EXPECT_EQ(went.error().code(), Code::kInvalidArgument);
    EXPECT_NE(went.error().message().find("too much work"), std::string::npos) << went.error().message();
  }
  EXPECT_FALSE(slow(Slow::In::kAcceptText, 2.1).begin().has_value());
}

TEST(HeldAnswer, SmallWorkGoesOnForAsLongAsTheAnswer) {
  HeldAnswer answer = slow(Slow::In::kMask, 0.001);
  ASSERT_TRUE(answer.begin().has_value() && answer.accept(TokenId('>')).has_value());
  for (int i = 0; i < 5000; ++i) ASSERT_TRUE(answer.mask().has_value() && answer.accept(TokenId('a')).has_value()) << i;
}

TEST(HeldAnswer, EndsWhereTheVocabularyHasNoEnd) {
  class Dead final : public Grammar {
   public:
    explicit Dead(bool may_end) : may_end_(may_end) {}
    std::unique_ptr<GrammarMatcher> match() const override { return std::make_unique<Matcher>(may_end_); }
    std::size_t n_bytes() const override { return 0; }

   private:
    class Matcher final : public GrammarMatcher {
     public:
      explicit Matcher(bool may_end) : may_end_(may_end) {}
      Result<TokenMask> mask() override { return Error(Code::kInvalidArgument, "no token"); }
      Status accept(TokenId) override { return {}; }
      Status accept_text(const std::string&) override { return {}; }
      bool may_end() const override { return may_end_; }

     private:
      const bool may_end_;
    };
    const bool may_end_;
  };
  HeldAnswer whole = held({.grammar = std::make_shared<Dead>(true)});
  ASSERT_TRUE(whole.accept(TokenId('a')).has_value());
  EXPECT_TRUE(whole.is_over());
  HeldAnswer dead = held({.grammar = std::make_shared<Dead>(false)});
  ASSERT_TRUE(dead.accept(TokenId('a')).has_value());
  EXPECT_FALSE(dead.is_over());
  EXPECT_EQ(dead.mask().error().code(), Code::kInvalidArgument);
}

TEST(HeldAnswer, ATokenThatWasNotAllowedIsAnError) {
  HeldAnswer answer = held(exactly("{}"));
  EXPECT_EQ(answer.accept(TokenId('x')).error().code(), Code::kInternal);
}

}  // namespace
}  // namespace commissure
