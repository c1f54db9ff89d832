#include <gtest/gtest.h>

#include "support/engine_test_support.h"

namespace commissure {
namespace {

struct Shape {
  int steps_in_flight;
  int max_step_rows;
  std::int32_t n_kv_blocks;
  int decode_slots = 0;
};

class EngineBatching : public ::testing::TestWithParam<Shape> {};

TEST_P(EngineBatching, EveryRequestGetsWhatItGetsAlone) {
  const Shape shape = GetParam();
  EngineOptions options = small_options();
  options.steps_in_flight = shape.steps_in_flight;
  options.max_step_rows = shape.max_step_rows;
  options.n_kv_blocks = shape.n_kv_blocks;
  options.decode_slots = shape.decode_slots;
  const std::vector<GenerationRequest> requests = mixed_requests(40);
  const std::vector<Answer> alone = run_alone(requests);
  for (const int max_partial_prefills : {4, 1}) {
    options.max_partial_prefills = max_partial_prefills;
    Bench bench(options);
    expect_same(run_together(bench.start(), requests), alone);
    EXPECT_TRUE(bench.is_idle());
  }
}

TEST(EnginePreemption, RequestsGetWhatTheyGetAlone) {
  std::vector<GenerationRequest> requests;
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    requests.push_back(make_request(60, 200, seed));  // two blocks at first, five in the end
    requests.back().ignore_eos = true;
  }
  const std::vector<Answer> alone = run_alone(requests);
  for (const int max_partial_prefills : {4, 1}) {
    EngineOptions options = small_options();
    options.n_kv_blocks = 8;
    options.max_partial_prefills = max_partial_prefills;
    Bench bench(options);
    expect_same(run_together(bench.start(), requests), alone);
    EXPECT_GT(bench.engine->stats().preemptions, 0u);
    EXPECT_TRUE(bench.is_idle());
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, EngineBatching,
                         ::testing::Values(Shape{1, 64, 64}, Shape{2, 64, 64}, Shape{3, 17, 64}, Shape{4, 512, 64},
                                           Shape{2, 1, 64}, Shape{4, 64, 64, 1}, Shape{1, 64, 5}, Shape{2, 33, 5},
                                           Shape{4, 200, 6}));

/// What every request gets when nothing is ever reused.
std::vector<Answer> run_uncached(const std::vector<GenerationRequest>& requests) {
  EngineOptions options = small_options();
  options.prefix_cache = false;
  Bench bench(options);
  Engine& engine = bench.start();
  std::vector<Answer> answers;
  for (const GenerationRequest& request : requests) answers.push_back(run_one(engine, request));
  EXPECT_EQ(engine.stats().prefix_queries, 0u);
  return answers;
}

TEST(EnginePrefixCache, TellsHowManyTokensOfThePromptItKnew) {
  Bench bench;
  Engine& engine = bench.start();
  const GenerationRequest request = make_request(200, 6);
  const Answer first = run_one(engine, request);
  const Answer second = run_one(engine, request);
  EXPECT_EQ(first.usage.cached_tokens, 0);
  EXPECT_EQ(second.usage.cached_tokens, 192);
  EXPECT_TRUE(second.same(first));
  GenerationRequest salted = request;
  salted.cache_salt = "mine";
  EXPECT_EQ(run_one(engine, salted).usage.cached_tokens, 0);
  EXPECT_EQ(run_one(engine, salted).usage.cached_tokens, 192);
  GenerationRequest scored = request;
  scored.prompt_logprobs = 0;
  const Answer scores = run_one(engine, scored);
  EXPECT_EQ(scores.usage.cached_tokens, 0);
  EXPECT_EQ(scores.prompt_scores.size(), 199u);
  GenerationRequest summed = request;
  summed.trace = TraceLevel::kLayers;
  EXPECT_EQ(run_one(engine, summed).usage.cached_tokens, 0);
  engine.reset_prefix_cache();
  EXPECT_EQ(run_one(engine, request).usage.cached_tokens, 0);
  EXPECT_NE(engine.metrics_text().find("commissure_prefix_cache_hits_total{model_name=\"fake\"} 384"),
            std::string::npos);
}

TEST(EnginePrefixCache, ReusedRowsChangeNoAnswer) {
  const std::vector<GenerationRequest> requests = mixed_requests(40);
  const std::vector<Answer> expected = run_uncached(requests);
  for (const std::int32_t n_blocks : {5, 12, 64}) {
    EngineOptions options = small_options();
    options.n_kv_blocks = n_blocks;
    options.steps_in_flight = 3;
    Bench bench(options);
    Engine& engine = bench.start();
    for (int round = 0; round < 3; ++round) expect_same(run_together(engine, requests), expected);
    EXPECT_TRUE(bench.is_idle());
    EXPECT_GT(engine.stats().prefix_hits, 0u);
  }
}

TEST(EnginePrefixCache, AChainThatForgotIsNotTrusted) {
  const std::vector<GenerationRequest> requests = mixed_requests(24);
  const std::vector<Answer> expected = run_uncached(requests);
  Bench bench;
  for (const std::uint64_t at : {20u, 47u, 90u, 133u}) bench.chain.faults.push_back({at, Code::kUnavailable, {}});
  Engine& engine = bench.start();
  for (const GenerationRequest& request : requests) run_one(engine, request);
  for (std::size_t i = 0; i < requests.size(); ++i) EXPECT_TRUE(run_one(engine, requests[i]).same(expected[i])) << i;
}

TEST(EnginePrefixCache, ALossWhileNothingRanIsNoticed) {
  GenerationRequest request = make_request(200, 4, 1);
  request.ignore_eos = true;
  for (const StageSpan loses : {kAllStages, StageSpan{1, 1}, StageSpan{}}) {
    Bench bench;
    bench.chain.loses = loses;
    Engine& engine = bench.start();
    const Answer first = run_one(engine, request);
    EXPECT_TRUE(run_one(engine, request).same(first));
    EXPECT_EQ(engine.stats().prefix_hits, 192u);
    ASSERT_TRUE(bench.is_idle());
    bench.chain.break_unnoticed();
    EXPECT_TRUE(run_one(engine, request).same(first));
    EXPECT_EQ(engine.stats().prefix_hits, loses.empty() ? 2 * 192u : 192u);
    EXPECT_EQ(engine.stats().replays, 0u) << "nobody ran";
  }
}

}  // namespace
}  // namespace commissure
