// A real model through three stages on the emulated GPU, beside the same stages on the CPU.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support/golden_files.h"
#include "support/stage_fixture.h"
#include "support/test_extent.h"

namespace commissure::testing {
namespace {

/// What a step of one sequence draws, greedily, with the ten likeliest tokens.
ScoredToken next_token(Chain& chain, std::vector<int> tokens, int first_position) {
  SequenceRows rows = rows_of(1, first_position, std::move(tokens), 0);
  rows.sample = true;
  if (first_position == 0) rows.params = SamplingParams{.temperature = 0.0f, .n_logprobs = 10, .banned = {}};
  const auto result = chain.step({.step = {}, .slices = {rows}, .released = {}});
  CHECK(result.has_value());
  return *result->results[0].sampled;
}

/// How far apart two kernels' answers are: differences between two lists of the likeliest tokens; a token that one of
/// them lacks is below its last.
struct Distance {
  double sum = 0.0, largest = 0.0;
  int n = 0;

  void add(const ScoredToken& a, const ScoredToken& b) {
    for (const auto& one : a.top) {
      const auto other = std::ranges::find(b.top, one.token, [](const auto& scored) { return scored.token; });
      const double there = other == b.top.end() ? std::min(b.top.back().logprob, one.logprob) : other->logprob;
      const double difference = std::abs(static_cast<double>(one.logprob) - there);
      sum += difference;
      largest = std::max(largest, difference);
      ++n;
    }
  }
  double mean() const { return sum / n; }
};

/// Kernels of other orders of addition differ, as roundings to bf16 and int8 fall otherwise: the CPU's generic ones
/// show by how much, and the GPU's may differ by twice that.
TEST(EmulatedModel, SmolLM2AnswersThroughThreeStagesAsOnTheCpu) {
#if defined(COMMISSURE_SANITIZED)
  GTEST_SKIP() << "not under a sanitizer";
#endif
  if (!runs_all_tests()) GTEST_SKIP() << "minutes of emulation: make test ALL=1";
  const auto path = model_path("SmolLM2-135M-Instruct.Q4_1.gguf");
  if (!path) GTEST_SKIP() << "COMMISSURE_TEST_MODELS has no SmolLM2";
  const auto gpu = cpu_backend("emulated"), cpu = cpu_backend("", 2), generic = cpu_backend("generic", 2);
  const StageOptions options = {.model_name = "smollm2", .max_rows = 16, .n_kv_blocks = 2};
  // As the product runs this model: with one plane, what rounds otherwise in attention moves whole steps of int8.
  const auto chain_on = [&](Backend& backend) {
    return Chain(backend, *path, {10, 20}, options, KvType::kBF16, Precision::kExact);
  };
  Chain emulated = chain_on(*gpu), judge = chain_on(*cpu), other = chain_on(*generic);
  Distance of_gpu, of_generic;
  std::vector<int> tokens = {504, 3575, 282, 4649, 314};
  int position = 0;
  for (int i = 0; i < 8; ++i) {
    const ScoredToken expected = next_token(judge, tokens, position), drawn = next_token(emulated, tokens, position);
    ASSERT_EQ(drawn.top.size(), 10u);
    of_gpu.add(expected, drawn);
    of_generic.add(expected, next_token(other, tokens, position));
    constexpr float kClear = 0.3f;
    const bool is_clear = expected.top[0].logprob - expected.top[1].logprob > kClear;
    EXPECT_TRUE(!is_clear || drawn.chosen.token == expected.chosen.token) << "token " << i;
    position += count_of(tokens);
    tokens = {expected.chosen.token.value};  // all go on with the CPU's
  }
  EXPECT_LE(of_gpu.mean(), 2.0 * of_generic.mean());
  EXPECT_LE(of_gpu.largest, 2.0 * of_generic.largest);
}

}  // namespace
}  // namespace commissure::testing
