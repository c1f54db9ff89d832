#include "verify/evaluation.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

namespace commissure {
namespace {

TEST(Evaluation, ScoresAsSoftmaxDoes) {
  const std::vector<float> logits = {0.0f, std::log(2.0f), std::log(5.0f)};
  const auto score = score_row(logits, 1);
  ASSERT_TRUE(score.has_value());
  EXPECT_NEAR(score->logprob, std::log(2.0 / 8.0), 1e-6);
  EXPECT_EQ(score->best, 2);
}

TEST(Evaluation, RowsWithoutNumbersAreAnError) {
  EXPECT_FALSE(score_row(std::vector<float>{0.0f, NAN}, 0).has_value());
  EXPECT_FALSE(score_row(std::vector<float>{0.0f, INFINITY}, 0).has_value());
}

TEST(Evaluation, TheDivergenceIsThatOfKullbackAndLeibler) {
  const std::vector<float> p = {std::log(0.5f), std::log(0.25f), std::log(0.25f)};
  const std::vector<float> q = {std::log(0.25f) + 3.0f, std::log(0.25f) + 3.0f, std::log(0.5f) + 3.0f};
  EXPECT_NEAR(divergence(p, q), 0.5 * std::log(2.0) + 0.25 * std::log(0.5), 1e-6);
  EXPECT_NEAR(divergence(p, p), 0.0, 1e-9);
  EXPECT_NE(divergence(p, q), divergence(q, p));
}

TEST(Evaluation, JsonTellsOfTheOtherModelOnlyWhereThereIsOne) {
  Evaluation found{.n_tokens = 4, .logprob = -8.0};
  EXPECT_NEAR(found.perplexity(), std::exp(2.0), 1e-9);
  EXPECT_FALSE(found.to_json().contains("mean_kl"));
  found.is_compared = true;
  found.logprob_against = -4.0;
  found.divergence = 2.0;
  found.n_same = 3;
  EXPECT_NEAR(found.to_json()["mean_kl"].get<double>(), 0.5, 1e-12);
  EXPECT_NEAR(found.to_json()["top1_agreement"].get<double>(), 0.75, 1e-12);
  EXPECT_NEAR(found.to_json()["perplexity_change"].get<double>(), std::exp(1.0) - 1, 1e-9);
}

}  // namespace
}  // namespace commissure
