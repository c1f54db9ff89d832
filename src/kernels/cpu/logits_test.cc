#include <algorithm>
#include <cmath>

#include "core/dtype.h"
#include "support/backend_testing.h"

namespace commissure {
namespace {

using testing::backend_for;
using testing::random_values;

constexpr int kVocabulary = 1003, kWidth = 160, kRows = 5;

/// Q8_0 weights whose logits spread over some 60 units, so that few of them are near the largest.
MatrixSource head() {
  std::vector<std::byte> bytes;
  const std::vector<float> values = random_values(std::size_t{kVocabulary} * kWidth, 5, 60.0f);
  for (std::size_t block = 0; block < values.size(); block += 32) {
    const std::uint16_t scale = float_to_half(0.02f);
    bytes.push_back(static_cast<std::byte>(scale & 0xff));
    bytes.push_back(static_cast<std::byte>(scale >> 8));
    for (std::size_t i = block; i < block + 32; ++i) {
      bytes.push_back(static_cast<std::byte>(static_cast<std::int8_t>(std::clamp(values[i], -127.0f, 127.0f))));
    }
  }
  return testing::source_of(DType::kQ8_0, kVocabulary, std::move(bytes), kWidth);
}

std::vector<float> product(Backend& backend, const Matrix& weight, Rows x, InputPlanes planes) {
  const auto out = testing::upload(backend, std::vector<float>(std::size_t{kRows} * kVocabulary), kRows);
  backend.matmul(x, std::vector<MatmulJob>{{&weight, out.rows}}, planes);
  return testing::download(backend, out.rows);
}

/// What a soft cap leaves of a logit; 0: no cap.
double bent(float logit, float cap) { return cap == 0.0f ? double{logit} : cap * std::tanh(double{logit} / cap); }

TEST(Logits, WhatCanMatterIsAsExactAsTwoPlanes) {
  const std::vector<LogitsUse> uses = {{}, {.target = 0}, {.target = 1002}, {.target = 500}, {}};
  for (const std::string& isa : testing::fast_isas()) {
    const auto backend = backend_for(isa);
    const auto weight = backend->load_matrix(head()).value();
    const auto x = testing::upload(*backend, random_values(std::size_t{kRows} * kWidth, 9), kRows);
    const auto one = product(*backend, *weight, x.rows, InputPlanes::kOne);
    const auto two = product(*backend, *weight, x.rows, InputPlanes::kTwo);
    const auto out = testing::upload(*backend, std::vector<float>(std::size_t{kRows} * kVocabulary), kRows);
    for (const float cap : {0.0f, 30.0f}) {
      const double tolerance = 4e-7 * cap;
      backend->logits(x.rows, *weight, uses, cap, out.rows);
      const auto values = testing::download(*backend, out.rows);
      int n_refined = 0, n_far = 0;  // of them those that only the cap brings into the range, and whose planes differ
      for (int row = 0; row < kRows; ++row) {
        const int first = row * kVocabulary;
        const float largest = *std::max_element(&one[first], &one[first] + kVocabulary);
        for (int i = 0; i < kVocabulary; ++i) {
          const int at = first + i;
          const bool in_range = bent(one[at], cap) > bent(largest, cap) - kRefinedRange;
          const bool refined = in_range || uses[row].target == i;
          n_refined += refined ? 1 : 0;
          const bool differs = std::abs(bent(one[at], cap) - bent(two[at], cap)) > 2 * tolerance;
          n_far += in_range && one[at] < largest - kRefinedRange && differs ? 1 : 0;
          ASSERT_NEAR(values[at], bent(refined ? two[at] : one[at], cap), tolerance)
              << isa << ", cap " << cap << ", row " << row << ", output " << i;
        }
      }
      EXPECT_GT(n_refined, 2 * kRows) << isa;  // else this test shows nothing
      EXPECT_LT(n_refined, kVocabulary) << isa;
      EXPECT_EQ(n_far > 2 * kRows, cap > 0.0f) << isa << ": " << n_far;
    }
  }
}

TEST(Logits, ARowDoesNotDependOnItsNeighboursOrTheThreads) {
  const std::vector<float> x = random_values(std::size_t{kRows} * kWidth, 11);
  for (const std::string& isa : available_isas()) {
    const auto logits = [&](std::span<const float> rows, int n_rows, int n_threads) {
      const auto backend = backend_for(isa, n_threads);
      const auto weight = backend->load_matrix(head()).value();
      const auto in = testing::upload(*backend, rows, n_rows);
      const auto out = testing::upload(*backend, std::vector<float>(n_rows * kVocabulary), n_rows);
      backend->logits(in.rows, *weight, std::vector<LogitsUse>(n_rows, {.target = 7}), out.rows);
      return testing::download(*backend, out.rows);
    };
    const auto together = logits(x, kRows, 3);
    const auto alone = logits(std::span(x).last(kWidth), 1, 1);
    EXPECT_TRUE(testing::same_bits(std::span(together).last(kVocabulary), alone)) << isa;
  }
}

/// Its logits are exact, all of them: floats have no planes.
MatrixSource float_head() {
  return testing::source_of(DType::kF32, kVocabulary, random_values(std::size_t{kVocabulary} * kWidth, 5, 1.2f),
                            kWidth);
}

TEST(Logits, ASoftcapBendsThemAndKeepsTheirOrder) {
  const std::vector<float> x = random_values(std::size_t{kRows} * kWidth, 9);
  for (const std::string& isa : available_isas()) {
    const auto backend = backend_for(isa, 2);
    const auto weight = backend->load_matrix(float_head()).value();
    const auto in = testing::upload(*backend, x, kRows);
    const auto out = testing::upload(*backend, std::vector<float>(std::size_t{kRows} * kVocabulary), kRows);
    const std::vector<LogitsUse> uses(kRows);
    backend->logits(in.rows, *weight, uses, out.rows);
    const auto plain = testing::download(*backend, out.rows);
    for (const float cap : {30.0f, 2.5f}) {
      backend->logits(in.rows, *weight, uses, cap, out.rows);
      const auto capped = testing::download(*backend, out.rows);
      for (std::size_t i = 0; i < plain.size(); ++i) {
        EXPECT_NEAR(capped[i], cap * std::tanh(plain[i] / cap), 4e-7f * cap) << isa << " " << plain[i];
      }
    }
  }
}

TEST(Logits, ASoftcapThatBringsAllIntoTheRangeHasAllOfThemExact) {
  constexpr float kCap = 2.5f;
  static_assert(2 * kCap < kRefinedRange);
  for (const std::string& isa : available_isas()) {
    const auto backend = backend_for(isa, 2);
    const auto weight = backend->load_matrix(head()).value();
    const auto x = testing::upload(*backend, random_values(std::size_t{kRows} * kWidth, 9), kRows);
    const auto two = product(*backend, *weight, x.rows, InputPlanes::kTwo);
    const auto out = testing::upload(*backend, std::vector<float>(std::size_t{kRows} * kVocabulary), kRows);
    backend->logits(x.rows, *weight, std::vector<LogitsUse>(kRows), kCap, out.rows);
    const auto capped = testing::download(*backend, out.rows);
    for (std::size_t i = 0; i < two.size(); ++i) {
      EXPECT_NEAR(capped[i], bent(two[i], kCap), 4e-7 * kCap) << isa << " " << two[i];
    }
  }
}

TEST(Logits, NanRowsDoNotCrash) {
  for (const std::string& isa : available_isas()) {
    const auto backend = backend_for(isa);
    const auto weight = backend->load_matrix(head()).value();
    const auto x = testing::upload(*backend, std::vector<float>(kWidth, NAN), 1);
    const auto out = testing::upload(*backend, std::vector<float>(kVocabulary), 1);
    for (const float cap : {0.0f, 30.0f}) {
      backend->logits(x.rows, *weight, std::vector<LogitsUse>{{.target = 3}}, cap, out.rows);
      EXPECT_TRUE(std::isnan(testing::download(*backend, out.rows)[7])) << isa;
    }
  }
}

}  // namespace
}  // namespace commissure
