#include "model/expert_branch.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "kernels/quant.h"
#include "kernels/quantise.h"
#include "support/backend_testing.h"

namespace commissure::testing {
namespace {

constexpr int kExperts = 6, kUsed = 2, kWidth = 64, kInner = 32, kSharedInner = 96, kRows = 40;

using Taken = std::vector<std::pair<int, float>>;  // row, weight

Taken taken_of(const RowsByExpert& taken, int expert) {
  Taken pairs;
  for (std::size_t i = 0; i < taken.rows(expert).size(); ++i) {
    pairs.emplace_back(taken.rows(expert)[i], taken.weights(expert)[i]);
  }
  return pairs;
}

TEST(RowsByExpert, ARowTakesTheExpertsWithTheLargestLogits) {
  const std::vector<float> logits = {0.0f, 2.0f, 2.0f,  2.0f,  // of equal ones the first
                                     1.0f, NAN,  -3.0f, 0.0f};
  RowsByExpert taken;
  taken.assign(logits, 2, {.n_experts = 4, .n_used = 2, .d_ff = 8, .normalised = true}, 3.0f);
  EXPECT_EQ(taken_of(taken, 1), (Taken{{0, 1.5f}}));
  EXPECT_EQ(taken_of(taken, 2), (Taken{{0, 1.5f}}));
  ASSERT_EQ(taken.rows(0).size(), 1u);
  ASSERT_EQ(taken.rows(3).size(), 1u);
  EXPECT_EQ(taken.rows(0)[0], 1);
  EXPECT_NEAR(taken.weights(0)[0], 3.0f * std::exp(1.0f) / (std::exp(1.0f) + 1.0f), 1e-6f);
}

TEST(RowsByExpert, ProbabilitiesAreThoseAmongAllUnlessTheSpecSaysOtherwise) {
  const std::vector<float> logits = {std::log(1.0f), std::log(2.0f), std::log(5.0f)};
  ExpertSpec spec = {.n_experts = 3, .n_used = 2, .d_ff = 8};
  RowsByExpert taken;
  const auto weights = [&] {
    taken.assign(logits, 1, spec, 1.0f);
    return std::pair(taken.weights(1)[0], taken.weights(2)[0]);
  };
  EXPECT_NEAR(weights().first, 2.0f / 8, 1e-6f);
  EXPECT_NEAR(weights().second, 5.0f / 8, 1e-6f);
  spec.normalised = true;
  EXPECT_NEAR(weights().first, 2.0f / 7, 1e-6f);
  spec = {.n_experts = 3, .n_used = 2, .d_ff = 8, .softmax_of_used = true};
  EXPECT_NEAR(weights().second, 5.0f / 7, 1e-6f);
}

TEST(RowsByExpert, AnExpertsFactorWeighsItAfterTheProbabilities) {
  const std::vector<float> logits = {std::log(1.0f), std::log(2.0f), std::log(5.0f), std::log(5.0f)};
  const std::vector<float> factors = {9.0f, 0.5f, 2.0f, 3.0f};
  RowsByExpert taken;
  taken.assign(logits, 1, {.n_experts = 4, .n_used = 2, .d_ff = 8, .normalised = true}, 1.0f, factors);
  EXPECT_TRUE(taken.rows(0).empty() && taken.rows(1).empty()) << "a factor chooses none";
  EXPECT_EQ(taken_of(taken, 2), (Taken{{0, 1.0f}}));
  EXPECT_EQ(taken_of(taken, 3), (Taken{{0, 1.5f}}));
}

TEST(RowsByExpert, LogitsThatAreNoneGiveEveryRowDistinctExperts) {
  const std::vector<float> logits(12, NAN);
  RowsByExpert taken;
  taken.assign(logits, 3, {.n_experts = 4, .n_used = 3, .d_ff = 8}, 1.0f);
  for (int expert = 0; expert < 3; ++expert) EXPECT_EQ(taken.rows(expert).size(), 3u);
  EXPECT_TRUE(taken.rows(3).empty());
}

/// A layer's weights with the values that they were made of.
struct Experts {
  LayerSpec spec;
  LayerWeights weights;
  std::vector<float> router, shared_router;
  struct Values {
    std::vector<float> gate, up, down;
  };
  std::vector<Values> values;
  Values shared;
};

/// `values` rounded to F32, BF16 or Q8_0.
MatrixSource stored(DType dtype, int n_rows, const std::vector<float>& values, int n_cols) {
  if (dtype == DType::kF32) return source_of(dtype, n_rows, values, n_cols);
  std::vector<std::byte> bytes(row_bytes(dtype, n_cols) * to_size(n_rows));
  if (dtype == DType::kQ8_0) {
    EXPECT_TRUE(quantise(dtype, values, bytes.data()));
  } else {
    for (std::size_t i = 0; i < values.size(); ++i) {
      const bf16 value = to_bf16(values[i]);
      std::memcpy(&bytes[i * sizeof value], &value, sizeof value);
    }
  }
  return source_of(dtype, n_rows, std::move(bytes), n_cols);
}

Experts make_experts(Backend& backend, bool has_shared, DType dtype = DType::kF32) {
  Experts made;
  made.spec.experts = {
      .n_experts = kExperts, .n_used = kUsed, .d_ff = kInner, .shared_d_ff = has_shared ? kSharedInner : 0};
  const auto matrix = [&](int n_rows, int n_cols, unsigned seed, std::vector<float>& values) {
    values = random_values(n_elements(n_rows, n_cols), seed, 1.0f / std::sqrt(static_cast<float>(n_cols)));
    return backend.load_matrix(stored(dtype, n_rows, values, n_cols)).value();
  };
  made.weights.router = matrix(kExperts, kWidth, 1, made.router);
  made.values.resize(kExperts);
  const auto fill = [&](ExpertWeights& weights, Experts::Values& values, int inner, unsigned seed) {
    weights.gate = matrix(inner, kWidth, seed, values.gate);
    weights.up = matrix(inner, kWidth, seed + 1, values.up);
    weights.down = matrix(kWidth, inner, seed + 2, values.down);
  };
  made.weights.experts.resize(kExperts);
  for (unsigned i = 0; i < kExperts; ++i) fill(made.weights.experts[i], made.values[i], kInner, 10 + 3 * i);
  if (has_shared) {
    made.weights.shared_router = matrix(1, kWidth, 2, made.shared_router);
    fill(made.weights.shared, made.shared, kSharedInner, 100);
  }
  return made;
}

std::vector<float> rows_of_x() { return random_values(std::size_t{kRows} * kWidth, 7); }

/// The branch's output for rows [first, first + n), of one step or of steps of `chunk` rows.
std::vector<float> output(Backend& backend, const Experts& experts, int first, int n, int chunk) {
  const std::vector<float> x = rows_of_x();
  ExpertBranch branch(backend);
  const int max_rows = std::max(chunk, kUsed);
  const auto scratch =
      backend.allocate(to_size(max_rows) * ExpertBranch::scratch_floats(experts.spec.experts, kWidth) * sizeof(float));
  std::vector<float> out;
  for (int row = first; row < first + n; row += chunk) {
    const int n_rows = std::min(chunk, first + n - row);
    const auto in = upload(backend, std::span(x).subspan(n_elements(row, kWidth), n_elements(n_rows, kWidth)), n_rows);
    const ExpertBranch::Planes planes = {InputPlanes::kOne, InputPlanes::kTwo};
    const auto sum = branch.run(experts.spec, experts.weights, planes, in.rows, scratch->ptr(), max_rows);
    EXPECT_TRUE(sum.has_value());
    const std::vector<float> values = download(backend, *sum);
    out.insert(out.end(), values.begin(), values.end());
  }
  return out;
}

double dot(const float* a, const float* b, int n) {
  double sum = 0.0;
  for (int i = 0; i < n; ++i) sum += double{a[i]} * double{b[i]};
  return sum;
}

void add_feed_forward(const float* x, const Experts::Values& expert, double weight, std::vector<double>& out) {
  const int inner = static_cast<int>(expert.gate.size()) / kWidth;
  std::vector<float> hidden;
  for (int i = 0; i < inner; ++i) {
    const double gate = dot(x, &expert.gate[n_elements(i, kWidth)], kWidth);
    hidden.push_back(
        static_cast<float>(gate / (1.0 + std::exp(-gate)) * dot(x, &expert.up[n_elements(i, kWidth)], kWidth)));
  }
  for (int i = 0; i < kWidth; ++i) {
    out[to_size(i)] += weight * dot(hidden.data(), &expert.down[n_elements(i, inner)], inner);
  }
}

/// Straight from the definition, in double: no groups, no router but the largest two.
std::vector<double> by_definition(const Experts& experts, const float* x) {
  std::vector<std::pair<double, int>> logits;
  double all = 0.0;
  for (int expert = 0; expert < kExperts; ++expert) {
    logits.emplace_back(dot(x, &experts.router[n_elements(expert, kWidth)], kWidth), expert);
    all += std::exp(logits.back().first);
  }
  std::sort(logits.rbegin(), logits.rend());
  std::vector<double> out(kWidth);
  for (int i = 0; i < kUsed; ++i) {
    add_feed_forward(x, experts.values[to_size(logits[to_size(i)].second)], std::exp(logits[to_size(i)].first) / all,
                     out);
  }
  if (experts.spec.experts.shared_d_ff > 0) {
    add_feed_forward(x, experts.shared, 1.0 / (1.0 + std::exp(-dot(x, experts.shared_router.data(), kWidth))), out);
  }
  return out;
}

TEST(ExpertBranch, FollowsTheDefinitionOnEveryIsa) {
  const std::vector<float> x = rows_of_x();
  for (const std::string& isa : available_isas()) {
    const auto backend = backend_for(isa);
    for (const bool has_shared : {false, true}) {
      const Experts experts = make_experts(*backend, has_shared);
      for (const int chunk : {1, kRows}) {
        const std::vector<float> out = output(*backend, experts, 0, kRows, chunk);
        for (int row = 0; row < kRows; ++row) {
          const auto expected = by_definition(experts, &x[n_elements(row, kWidth)]);
          for (int i = 0; i < kWidth; ++i) {
            ASSERT_NEAR(out[n_elements(row, kWidth) + to_size(i)], expected[to_size(i)], 2e-5)
                << isa << ", row " << row << ", chunk " << chunk;
          }
        }
      }
    }
  }
}

TEST(ExpertBranch, ARowsBitsDoNotDependOnWhoElseTakesItsExperts) {
  for (const std::string& isa : available_isas()) {
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kQ8_0}) {
      SCOPED_TRACE(isa + ", " + std::string(dtype_name(dtype)));
      const auto backend =
          backend_for(isa, dtype == DType::kF32 ? 3 : 1);  // the threads are one test, the types another
      const Experts experts = make_experts(*backend, true, dtype);
      const std::vector<float> together = output(*backend, experts, 0, kRows, kRows);
      EXPECT_TRUE(same_bits(output(*backend, experts, 0, kRows, 1), together)) << "alone";
      EXPECT_TRUE(same_bits(output(*backend, experts, 0, kRows, 7), together)) << "in chunks";
      const auto last = std::span(together).last(n_elements(3, kWidth));
      EXPECT_TRUE(same_bits(output(*backend, experts, kRows - 3, 3, 3), last)) << "in other company";
    }
  }
}

TEST(ExpertBranch, ExpertsThatNoRowTakesAreNotRead) {
  const auto backend = backend_for("reference");
  Experts experts = make_experts(*backend, false);
  const std::vector<float> whole = output(*backend, experts, 5, 1, 1);
  int n_read = 0;
  for (ExpertWeights& expert : experts.weights.experts) {
    ExpertWeights kept;
    std::swap(kept, expert);  // reading it now would be the end
    const auto is_needed = [&] {
      const auto logits = [&](int i) {
        return dot(&rows_of_x()[5 * kWidth], &experts.router[n_elements(i, kWidth)], kWidth);
      };
      const int own = static_cast<int>(&expert - experts.weights.experts.data());
      int n_larger = 0;
      for (int i = 0; i < kExperts; ++i) n_larger += i != own && logits(i) > logits(own);
      return n_larger < kUsed;
    };
    if (!is_needed()) continue;
    std::swap(kept, expert);
    ++n_read;
  }
  EXPECT_EQ(n_read, kUsed);
  EXPECT_TRUE(same_bits(output(*backend, experts, 5, 1, 1), whole));
}

}  // namespace
}  // namespace commissure::testing
