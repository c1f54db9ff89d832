#include "sample/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>

#include "core/index.h"
#include "sample/reduce.h"

namespace commissure {
namespace {

SamplingParams greedy() { return {.temperature = 0.0f, .banned = {}}; }

std::vector<float> random_logits(std::size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, 3.0f);
  std::vector<float> logits(n);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

/// The tokens that are drawn over many positions, with their shares.
std::map<int, double> shares(const std::vector<float>& logits, SamplingParams params, int n_draws) {
  Sampler sampler;
  std::map<int, double> shares;
  for (int position = 0; position < n_draws; ++position) {
    shares[sampler.sample(logits, params, position)->chosen.token.value] += 1.0 / n_draws;
  }
  return shares;
}

TEST(Sampler, GreedyTakesTheLowestIdOfEqualLogits) {
  Sampler sampler;
  std::vector<float> logits(1000, -1.0f);
  logits[700] = logits[41] = logits[999] = 2.0f;
  EXPECT_EQ(sampler.sample(logits, greedy(), 0)->chosen.token, TokenId(41));
}

TEST(Sampler, NeverChoosesABannedToken) {
  Sampler sampler;
  const std::vector<float> logits = {1.0f, 3.0f, 2.0f};
  SamplingParams params = greedy();
  params.banned = {TokenId(1), TokenId(77)};
  EXPECT_EQ(sampler.sample(logits, params, 0)->chosen.token, TokenId(2));
  params.temperature = 1.0f;
  EXPECT_FALSE(shares(logits, params, 500).contains(1));
  params.banned = {TokenId(0), TokenId(1), TokenId(2)};
  EXPECT_EQ(sampler.sample(logits, params, 0).error().code(), Code::kInvalidArgument);
}

TEST(Sampler, DrawsFromAMaskAlone) {
  const std::vector<float> logits = random_logits(300, 5);
  std::vector<std::uint32_t> words(10);
  for (const int token : {3, 64, 299}) words[static_cast<std::size_t>(token) / 32] |= 1u << (token % 32);
  const TokenMask mask(words);
  Sampler sampler;
  SamplingParams params = greedy();
  for (const float temperature : {0.0f, 1.0f, 5.0f}) {
    params.temperature = temperature;
    for (int position = 0; position < 200; ++position) {
      SampleContext context{.position = position, .history = {}, .mu = {}, .mask = &mask};
      const auto drawn = sampler.sample(logits, params, context);
      ASSERT_TRUE(drawn.has_value());
      EXPECT_TRUE(mask.has(drawn->chosen.token.value)) << drawn->chosen.token.value;
    }
  }
}

TEST(Sampler, AMaskComesBeforeBansAndBiases) {
  const std::vector<float> logits = {5.0f, 1.0f, 3.0f, 2.0f};
  const TokenMask mask({0b1010u});
  Sampler sampler;
  SamplingParams params = greedy();
  SampleContext context{.position = 0, .history = {}, .mu = {}, .mask = &mask};
  EXPECT_EQ(sampler.sample(logits, params, context)->chosen.token, TokenId(3));
  params.logit_bias = {{TokenId(0), 100.0f}, {TokenId(1), 50.0f}};
  EXPECT_EQ(sampler.sample(logits, params, context)->chosen.token, TokenId(1));
  params.banned = {TokenId(1), TokenId(3)};
  EXPECT_EQ(sampler.sample(logits, params, context).error().code(), Code::kInvalidArgument);
  params.banned = {};
  params.n_logprobs = 2;
  const auto raw = sampler.sample(logits, params, context);
  EXPECT_EQ(raw->top[0].token, TokenId(0)) << "log-probabilities are the model's";
}

TEST(Sampler, RefusesLogitsThatAreNotFinite) {
  Sampler sampler;
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const std::size_t at : {0u, 17u, 99u}) {
      std::vector<float> logits(100, 1.0f);
      logits[at] = bad;
      EXPECT_EQ(sampler.sample(logits, greedy(), 0).error().code(), Code::kInternal);
      EXPECT_EQ(sampler.sample(logits, SamplingParams{}, 0).error().code(), Code::kInternal);
      EXPECT_EQ(sampler.score(logits, TokenId(3), 2).error().code(), Code::kInternal);
    }
  }
}

TEST(Sampler, DrawsFromTheSoftmaxAtTheTemperature) {
  const std::vector<float> logits = {0.0f, 1.0f, 2.0f};
  for (const float temperature : {0.5f, 1.0f, 2.0f}) {
    SamplingParams params{.temperature = temperature, .seed = 5, .banned = {}};
    double total = 0.0;
    for (const float logit : logits) total += std::exp(logit / temperature);
    const auto drawn = shares(logits, params, 20000);
    for (std::size_t i = 0; i < logits.size(); ++i) {
      EXPECT_NEAR(drawn.at(static_cast<int>(i)), std::exp(logits[i] / temperature) / total, 0.015);
    }
  }
}

TEST(Sampler, FiltersByTopKTopPAndMinP) {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.15f), std::log(0.05f)};
  EXPECT_EQ(shares(logits, {.top_k = 2, .banned = {}}, 2000).size(), 2u);
  EXPECT_EQ(shares(logits, {.top_p = 0.75f, .banned = {}}, 2000).size(), 2u);
  EXPECT_EQ(shares(logits, {.top_p = 0.81f, .banned = {}}, 2000).size(), 3u);
  EXPECT_EQ(shares(logits, {.min_p = 0.2f, .banned = {}}, 2000).size(), 3u);
  EXPECT_EQ(shares(logits, {.top_k = 1, .banned = {}}, 100).size(), 1u);
  EXPECT_EQ(shares(logits, {.top_p = 1e-6f, .banned = {}}, 100).size(), 1u);
  // top_p is measured on what top_k kept: 0.5 / 0.8 = 0.625 is enough.
  EXPECT_EQ(shares(logits, {.top_k = 2, .top_p = 0.6f, .banned = {}}, 2000).size(), 1u);
  EXPECT_EQ(shares(logits, {.top_p = 0.9f, .min_p = 0.2f, .banned = {}}, 2000).size(), 3u);
}

TEST(Sampler, CutsALargeVocabularyLikeAFullSort) {
  const std::vector<float> logits = random_logits(5000, 3);
  std::vector<std::pair<double, int>> sorted;
  double total = 0.0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    sorted.emplace_back(-std::exp(double{logits[i]}), static_cast<int>(i));
    total += std::exp(double{logits[i]});
  }
  std::sort(sorted.begin(), sorted.end());
  std::map<int, bool> nucleus;
  double mass = 0.0;
  for (const auto& [weight, token] : sorted) {
    if (mass >= 0.5 * total) break;
    mass -= weight;
    nucleus[token] = true;
  }
  for (const auto& [token, share] : shares(logits, {.top_p = 0.5f, .banned = {}}, 3000)) {
    EXPECT_TRUE(nucleus.contains(token)) << token;
  }
}

TEST(Sampler, DrawsTheSameFromTheLargestLogitsAlone) {
  const auto three_likeliest = [](const std::vector<float>& logits) {
    std::vector<TokenId> banned;
    for (int i = 0; i < 3; ++i) {
      const auto best = std::ranges::max_element(logits, {}, [&](const float& logit) {
        const TokenId token(static_cast<std::int32_t>(&logit - logits.data()));
        return std::ranges::find(banned, token) == banned.end() ? logit : -1e9f;
      });
      banned.emplace_back(static_cast<std::int32_t>(best - logits.begin()));
    }
    return banned;
  };
  Sampler sampler;
  std::vector<float> logits = random_logits(5000, 3);
  for (float& logit : logits) logit = std::round(4.0f * logit) / 4.0f;  // many are equal
  const std::vector<TokenId> banned = three_likeliest(logits);
  const std::vector<SamplingParams> all = {
      greedy(),
      {.temperature = 0.0f, .banned = banned},
      {.temperature = 1e-6f, .banned = banned},
      {.temperature = 1.3f, .top_k = 1, .banned = {}},
      {.temperature = 1.3f, .top_k = 40, .banned = {}},
      {.temperature = 0.8f, .top_k = 40, .top_p = 0.7f, .min_p = 0.01f, .banned = banned},
      {.temperature = 1.0f, .top_k = 64, .banned = {}, .typical_p = 0.6f},
      {.temperature = 1.0f, .top_k = 64, .banned = {}, .xtc_probability = 0.9f, .xtc_threshold = 0.05f},
  };
  for (const SamplingParams& params : all) {
    const int n = n_largest_needed(params);
    ASSERT_GT(n, 0);
    std::vector<float> sorted = logits;
    std::ranges::sort(sorted, std::ranges::greater());
    std::vector<float> few = logits;
    for (float& logit : few) {
      if (logit < sorted[n - 1]) logit = -std::numeric_limits<float>::infinity();
    }
    for (int position = 0; position < 200; ++position) {
      ASSERT_EQ(*sampler.sample(few, params, position), *sampler.sample(logits, params, position)) << position;
    }
  }
}

TEST(Sampler, SaysWhenAllLogitsMatter) {
  const SamplingParams top_k = {.temperature = 1.0f, .top_k = 40, .banned = {}};
  EXPECT_EQ(n_largest_needed({.temperature = 0.0f, .banned = {TokenId(3), TokenId(4)}}), 3);
  EXPECT_EQ(n_largest_needed(top_k), 40);
  EXPECT_EQ(n_largest_needed({.temperature = 1.0f, .top_p = 0.9f, .banned = {}}), 0);
  const auto with = [&](auto change) {
    SamplingParams params = top_k;
    change(params);
    return n_largest_needed(params);
  };
  EXPECT_EQ(with([](SamplingParams& p) { p.n_logprobs = 0; }), 0);
  EXPECT_EQ(with([](SamplingParams& p) { p.logit_bias = {{TokenId(1), 2.0f}}; }), 0);
  EXPECT_EQ(with([](SamplingParams& p) { p.allowed = {TokenId(1)}; }), 0);
  EXPECT_EQ(with([](SamplingParams& p) { p.repetition_penalty = 1.1f; }), 0);
  EXPECT_EQ(with([](SamplingParams& p) { p.frequency_penalty = 0.1f; }), 0);
  EXPECT_EQ(with([](SamplingParams& p) { p.dry.multiplier = 0.5f; }), 0);
  EXPECT_EQ(with([](SamplingParams& p) { p.mirostat.is_on = true; }), 0);
  EXPECT_EQ(with([](SamplingParams& p) { p.top_n_sigma = 1.0f; }), 0);
  EXPECT_EQ(with([](SamplingParams& p) { p.bad_sequences = {{TokenId(1)}}; }), 0);
  EXPECT_EQ(with([](SamplingParams& p) { p.min_tokens = 3; }), 0);
}

TEST(Sampler, DependsOnSeedAndPositionAlone) {
  const std::vector<float> logits = random_logits(1000, 9);
  const SamplingParams params{.temperature = 1.2f, .top_p = 0.95f, .seed = 42, .banned = {}};
  Sampler a, b;
  for (int position = 0; position < 50; ++position) ASSERT_TRUE(a.sample(logits, params, position).has_value());
  EXPECT_EQ(a.sample(logits, params, 7)->chosen.token, b.sample(logits, params, 7)->chosen.token);
}

TEST(Sampler, GivesLogprobsOfTheRawDistribution) {
  const std::vector<float> logits = random_logits(3001, 1);
  double total = 0.0;
  for (const float logit : logits) total += std::exp(double{logit});
  Sampler sampler;
  SamplingParams params = greedy();
  params.n_logprobs = 4;
  const ScoredToken token = *sampler.sample(logits, params, 0);
  ASSERT_EQ(token.top.size(), 4u);
  EXPECT_EQ(token.top[0], token.chosen);
  for (const TokenLogprob& top : token.top) {
    const double exact = logits[top.token.value] - std::log(total);
    EXPECT_NEAR(top.logprob, exact, 1e-5);
  }
  for (std::size_t i = 1; i < 4; ++i) EXPECT_GE(token.top[i - 1].logprob, token.top[i].logprob);
  const ScoredToken scored = *sampler.score(logits, TokenId(123), 0);
  EXPECT_NEAR(scored.chosen.logprob, logits[123] - std::log(total), 1e-5);
  EXPECT_TRUE(scored.top.empty());
}

TEST(Sampler, GivesLogprobsOfWhatItDrewFromWhereAsked) {
  const std::vector<float> logits = random_logits(1000, 4);
  Sampler sampler;
  const auto sum_of_top = [&](SamplingParams params) {
    params.processed_logprobs = true;
    params.n_logprobs = 20;
    const ScoredToken token = *sampler.sample(logits, params, 5);
    EXPECT_EQ(token.chosen.token, sampler.sample(logits, params, 5)->chosen.token);
    double sum = 0.0;
    for (const TokenLogprob& top : token.top) sum += std::exp(double{top.logprob});
    return sum;
  };
  // No more than 20 tokens are left, so that their shares are all there is.
  EXPECT_NEAR(sum_of_top({.temperature = 0.7f, .top_k = 12, .banned = {}}), 1.0, 1e-5);
  EXPECT_NEAR(sum_of_top({.temperature = 0.7f, .top_k = 1, .banned = {}}), 1.0, 1e-6);
  EXPECT_NEAR(sum_of_top({.top_k = 15, .banned = {}, .xtc_probability = 1.0f, .xtc_threshold = 0.01f}), 1.0, 1e-5);
  EXPECT_NEAR(sum_of_top({.banned = {}, .mirostat = {.is_on = true, .tau = 1.0f}}), 1.0, 1e-5);
  EXPECT_LT(sum_of_top({.temperature = 0.0f, .banned = {}}), 1.0);
}

TEST(Sampler, SurvivesExtremeParameters) {
  Sampler sampler;
  const std::vector<float> logits = {-3e38f, 3e38f, 0.0f, -std::numeric_limits<float>::infinity()};
  for (const float temperature : {1e-30f, 1e-6f, 1e-4f, 2.0f}) {
    for (const float top_p : {1e-30f, 0.5f, 1.0f}) {
      const SamplingParams params{.temperature = temperature, .top_p = top_p, .banned = {}};
      EXPECT_EQ(sampler.sample(logits, params, 1 << 30)->chosen.token, TokenId(1));
    }
  }
  const std::vector<float> one = {0.5f};
  EXPECT_EQ(sampler.sample(one, {.top_k = 50, .n_logprobs = 20, .banned = {}}, 0)->top.size(), 1u);
}

TEST(Reduce, ExponentialIsCloseToLibm) {
  for (float x = -86.0f; x <= 0.0f; x += 0.0137f) {
    EXPECT_NEAR(exp_negative(x) / std::exp(double{x}), 1.0, 3e-7) << x;
  }
  EXPECT_EQ(exp_negative(-88.0f), 0.0f);
  EXPECT_EQ(exp_negative(-std::numeric_limits<float>::infinity()), 0.0f);
  EXPECT_EQ(exp_negative(0.0f), 1.0f);
}

TEST(Reduce, PicksWhereTheShareFalls) {
  for (const std::size_t n : {1u, 5u, 4096u, 4097u, 50000u}) {
    std::vector<float> values = random_logits(n, 4);
    if (n > 4097) std::fill(values.begin() + 4096, values.begin() + 8192, -std::numeric_limits<float>::infinity());
    const float max = *std::ranges::max_element(values);
    double total = 0.0;
    for (float& value : values) total += std::exp(double{value -= max});
    for (int i = 0; i <= 200; ++i) {
      const double share = i < 200 ? i / 200.0 : 1.0 - 0x1p-53;
      const std::size_t index = to_size(pick_by_weight(values, share));
      ASSERT_LT(index, n);
      double before = 0.0;
      for (std::size_t j = 0; j < index; ++j) before += std::exp(double{values[j]});
      EXPECT_GT(std::exp(double{values[index]}), 0.0);
      EXPECT_LE(before, share * total * (1 + 1e-6));
      EXPECT_GE(before + std::exp(double{values[index]}), share * total * (1 - 1e-6));
    }
  }
}

TEST(Candidates, TopKOfALargeVocabularyIsThatOfAFullSort) {
  std::vector<float> scores = random_logits(20000, 8);
  for (std::size_t i = 0; i < scores.size(); i += 3) scores[i] = std::round(scores[i]);  // many ties
  scores[7] = -std::numeric_limits<float>::infinity();
  for (const float lowest : {-std::numeric_limits<float>::infinity(), 1.0f}) {
    for (const int k : {1, 2, 50, 1000, 19999, 20000, 1 << 30}) {
      std::vector<Candidate> sorted;
      for (std::size_t i = 0; i < scores.size(); ++i) {
        if (scores[i] >= lowest && i != 7) sorted.push_back({scores[i], static_cast<std::int32_t>(i)});
      }
      std::ranges::sort(sorted, kLikelier);
      sorted.resize(std::min(sorted.size(), to_size(k)));
      Candidates candidates;
      candidates.fill_top_k(scores, lowest, k);
      const auto found = candidates.likeliest_first(0);
      const auto same = [](const Candidate& a, const Candidate& b) { return a.token == b.token && a.score == b.score; };
      EXPECT_TRUE(std::ranges::equal(found, sorted, same)) << k;
    }
  }
}

TEST(Candidates, TopPOfALargeVocabularyIsThatOfAFullSort) {
  std::vector<float> scores = random_logits(20000, 11);
  const float max = *std::ranges::max_element(scores);
  for (std::size_t i = 0; i < scores.size(); ++i) scores[i] = (i % 3 == 0 ? std::round(scores[i]) : scores[i]) - max;
  std::vector<Candidate> sorted;
  for (std::size_t i = 0; i < scores.size(); ++i)
    sorted.push_back({std::min(scores[i], 0.0f), static_cast<std::int32_t>(i)});
  for (const Candidate& candidate : sorted) scores[candidate.token] = candidate.score;
  std::ranges::sort(sorted, kLikelier);
  const double total = sum_exp(scores, 0.0f, 1.0f);
  for (const float top_p : {1e-6f, 0.1f, 0.5f, 0.9f, 0.999f}) {
    std::size_t n = 0;
    for (double mass = 0.0; n < sorted.size() && (n == 0 || mass < double{top_p} * total);) {
      mass += double{exp_negative(sorted[n++].score)};
    }
    Candidates candidates;
    candidates.fill(scores, -std::numeric_limits<float>::infinity());
    candidates.keep_top_p(top_p, total);
    const auto found = candidates.likeliest_first(0);
    ASSERT_EQ(found.size(), n) << top_p;
    for (std::size_t i = 0; i < n; ++i) ASSERT_EQ(found[i].token, sorted[i].token) << top_p << ' ' << i;
  }
}

TEST(Reduce, FindsTheFirstThatIsLargeEnough) {
  for (const std::size_t n : {0u, 1u, 15u, 16u, 33u, 100u}) {
    for (std::size_t at = 0; at < n; ++at) {
      std::vector<float> values(n, -1.0f);
      values[at] = 0.5f;
      for (std::size_t first = 0; first <= n; ++first) {
        EXPECT_EQ(find_at_least(values, first, 0.5f), first <= at ? at : n) << n << ' ' << at << ' ' << first;
      }
      EXPECT_EQ(find_at_least(values, 0, 0.6f), n);
    }
  }
}

TEST(Uniform, FillsTheUnitIntervalEvenly) {
  double sum = 0.0;
  for (std::uint64_t i = 0; i < 20000; ++i) {
    const double value = uniform(i / 100, i % 100);
    ASSERT_GE(value, 0.0);
    ASSERT_LT(value, 1.0);
    sum += value;
  }
  EXPECT_NEAR(sum / 20000, 0.5, 0.01);
  EXPECT_NE(uniform(0, 1), uniform(1, 0));
}

}  // namespace
}  // namespace commissure
