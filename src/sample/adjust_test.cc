#include "sample/adjust.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string_view>

#include "sample/sampler.h"

namespace commissure {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

/// One token per letter, 'a' is 0.
std::vector<TokenId> letters(std::string_view text) {
  std::vector<TokenId> tokens;
  for (const char letter : text) tokens.emplace_back(letter - 'a');
  return tokens;
}

std::vector<float> adjusted(const SamplingParams& params, std::string_view history, std::vector<float> logits) {
  const std::vector<TokenId> tokens = letters(history);
  LogitAdjuster().apply(params, tokens, std::ssize(tokens), logits);
  return logits;
}

TEST(Adjust, PenaltiesOfTheOutputCountOnlyTheOutput) {
  SamplingParams params;
  params.n_prompt = 2;
  params.presence_penalty = 0.5f;
  params.frequency_penalty = 0.25f;
  EXPECT_EQ(adjusted(params,
                     "ab"
                     "bbc",
                     {1, 1, 1, 1}),
            (std::vector<float>{1, 0, 0.25f, 1}));
}

TEST(Adjust, AllowedTokensAreTheOnlyOnes) {
  SamplingParams params;
  params.allowed = {TokenId(2), TokenId(0), TokenId(99)};
  params.banned = {TokenId(0)};
  EXPECT_EQ(adjusted(params, "", {3, 2, 1}), (std::vector<float>{kNever, kNever, 1}));
}

TEST(Adjust, HugeNumbersStayFinite) {
  SamplingParams params;
  params.repetition_penalty = 100.0f;
  params.logit_bias = {{TokenId(0), 100.0f}, {TokenId(1), -100.0f}};
  params.dry = {.multiplier = 1000.0f, .base = 1000.0f, .allowed_length = 0};
  constexpr float kMost = std::numeric_limits<float>::max();
  for (const float logit : adjusted(params, "abababababababababababababababababababab", {kMost, -kMost, 0.0f})) {
    EXPECT_TRUE(std::isfinite(logit));
  }
}

TEST(Adjust, DryGrowsWithTheRepetition) {
  SamplingParams params;
  params.dry = {.multiplier = 1.0f, .base = 2.0f, .allowed_length = 2};
  // "abc" came before and was followed by d: 2^(3 - 2). b, which followed one a, is below the allowed length.
  EXPECT_EQ(adjusted(params, "abcdeabc", {0, 0, 0, 0, 0}), (std::vector<float>{0, 0, 0, -2, 0}));
  // Two followers of "bc": d after "abc", e after "bc".
  EXPECT_EQ(adjusted(params, "abcdbceabc", {0, 0, 0, 0, 0}), (std::vector<float>{0, 0, 0, -2, -1}));
  params.dry.last_n = 4;
  EXPECT_EQ(adjusted(params, "abcdeabc", {0, 0, 0, 0, 0}), (std::vector<float>{0, 0, 0, 0, 0}));
  params.dry.last_n = -1;
  params.dry.breakers = letters("b");
  EXPECT_EQ(adjusted(params, "abcdeabc", {0, 0, 0, 0, 0}), (std::vector<float>{0, 0, 0, 0, 0}));
  params.dry.breakers = letters("d");
  EXPECT_EQ(adjusted(params, "abcdeabc", {0, 0, 0, 0, 0}), (std::vector<float>{0, 0, 0, 0, 0}));
}

TEST(Adjust, DryOfTheOutputAloneLetsThePromptBeSaidAgain) {
  SamplingParams params;
  params.dry = {.multiplier = 1.0f, .base = 2.0f, .allowed_length = 2, .last_n = kDryOutputAlone};
  params.n_prompt = 5;
  EXPECT_EQ(adjusted(params, "abcdeabc", {0, 0, 0, 0, 0}), (std::vector<float>{0, 0, 0, 0, 0})) << "a copy";
  EXPECT_EQ(adjusted(params, "abcdeabcdabc", {0, 0, 0, 0, 0}), (std::vector<float>{0, 0, 0, -2, 0})) << "a loop";
  params.n_prompt = 0;
  EXPECT_EQ(adjusted(params, "abcdeabc", {0, 0, 0, 0, 0}), (std::vector<float>{0, 0, 0, -2, 0}));
  params.n_prompt = 100;  // more than there is
  EXPECT_EQ(adjusted(params, "abcdeabc", {0, 0, 0, 0, 0}), (std::vector<float>{0, 0, 0, 0, 0}));
}

TEST(Adjust, DryLooksBackInLinearTime) {
  SamplingParams params;
  params.dry = {.multiplier = 1.0f};
  const std::string same(100000, 'a');  // quadratic comparing would take minutes
  EXPECT_LT(adjusted(params, same, {0, 0})[0], -1e30f);
}

TEST(Samplers, XtcDropsAllButTheLeastLikelyTopChoice) {
  const std::vector<float> logits = {std::log(0.4f), std::log(0.3f), std::log(0.2f), std::log(0.1f)};
  SamplingParams params;
  params.xtc_probability = 1.0f;
  params.xtc_threshold = 0.15f;
  Sampler sampler;
  int n_least = 0;
  for (int position = 0; position < 3000; ++position) {
    const int token = sampler.sample(logits, params, position)->chosen.token.value;
    EXPECT_GE(token, 2);
    n_least += token == 3 ? 1 : 0;
  }
  EXPECT_NEAR(n_least / 3000.0, 1.0 / 3.0, 0.04);
}

TEST(Samplers, TopNSigmaKeepsWhatIsNearTheLargest) {
  // Mean 0, standard deviation 2: from 4 - 0.5 * 2 on.
  const std::vector<float> logits = {4, 3, -1, -2, -2, -2, 0, 0};
  SamplingParams params;
  params.top_n_sigma = 0.5f;
  Sampler sampler;
  bool second = false;
  for (int position = 0; position < 500; ++position) {
    const int token = sampler.sample(logits, params, position)->chosen.token.value;
    EXPECT_LE(token, 1);
    second |= token == 1;
  }
  EXPECT_TRUE(second);
}

/// Mean surprise in bits of tokens drawn under mirostat from Zipf's law.
double surprise_under_mirostat(float tau) {
  std::vector<float> logits(2000);
  for (std::size_t i = 0; i < logits.size(); ++i) logits[i] = -std::log(static_cast<float>(i + 1));
  SamplingParams params;
  params.n_logprobs = 0;
  params.mirostat = {.is_on = true, .tau = tau, .eta = 0.1f};
  Sampler sampler;
  SampleContext context{.position = 0, .history = {}, .mu = {}};
  double surprise = 0.0;
  for (; context.position < 3000; ++context.position) {
    const auto token = sampler.sample(logits, params, context);
    if (context.position >= 1000) surprise -= double{token->chosen.logprob} / std::log(2.0) / 2000.0;
  }
  return surprise;
}

TEST(Samplers, MirostatHoldsTheSurpriseNearTau) {
  // The controller sees the surprise among the tokens it kept, which is below that among all.
  for (const float tau : {2.0f, 4.0f, 6.0f}) EXPECT_NEAR(surprise_under_mirostat(tau), double{tau} + 1.0, 1.0) << tau;
}

}  // namespace
}  // namespace commissure
