#include <gtest/gtest.h>

#include <limits>

#include "engine/engine_test_support.h"

namespace commissure {
namespace {

void expect_same(const std::vector<Answer>& got, const std::vector<Answer>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_TRUE(got[i].same(want[i])) << "request " << i << ": '" << got[i].text << "' instead of '" << want[i].text
                                      << "'" << (got[i].error ? got[i].error->to_string() : "");
  }
}

struct Shape {
  int steps_in_flight;
  int max_step_rows;
  std::int32_t n_kv_blocks;
  int decode_slots = 0;
};

class EngineBatching : public testing::TestWithParam<Shape> {};

TEST_P(EngineBatching, EveryRequestGetsWhatItGetsAlone) {
  const Shape shape = GetParam();
  EngineOptions options = small_options();
  options.steps_in_flight = shape.steps_in_flight;
  options.max_step_rows = shape.max_step_rows;
  options.n_kv_blocks = shape.n_kv_blocks;
  options.decode_slots = shape.decode_slots;
  const std::vector<GenerationRequest> requests = mixed_requests(40);
  Bench bench(options);
  expect_same(run_together(bench.start(), requests), run_alone(requests));
  EXPECT_TRUE(bench.is_idle());
  if (shape.n_kv_blocks < 8) {
    EXPECT_GT(bench.engine->stats().preemptions, 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, EngineBatching,
                         testing::Values(Shape{1, 64, 64}, Shape{2, 64, 64}, Shape{3, 17, 64}, Shape{4, 512, 64},
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

/// After which step a stream ends, and what is lost with it.
std::vector<std::pair<std::uint64_t, StageSpan>> breaks() {
  std::vector<std::pair<std::uint64_t, StageSpan>> all;
  for (const StageSpan loses : {kAllStages, StageSpan{}, StageSpan{1, 1}}) {
    for (const std::uint64_t at : {0u, 1u, 2u, 5u, 11u, 29u}) all.emplace_back(at, loses);
  }
  return all;
}

TEST(EngineRecovery, AStreamThatBreaksGoesOnWithTheSameTokens) {
  const std::vector<GenerationRequest> requests = mixed_requests(24);
  const std::vector<Answer> alone = run_alone(requests);
  EngineOptions options = small_options();
  options.steps_in_flight = 3;
  for (const auto& [at, loses] : breaks()) {
    Bench bench(options);
    bench.chain.loses = loses;
    for (std::uint64_t again = 0; again < 3; ++again) {
      bench.chain.faults.push_back(
          {at + again * 17, again == 1 ? Code::kDataLoss : Code::kUnavailable, std::chrono::milliseconds(4)});
    }
    bench.chain.max_rows = options.max_step_rows;  // of a replay too
    bench.chain.hold(true);                        // all are accepted before the first fault
    Engine& engine = bench.start();
    std::vector<Collector> collectors(requests.size());
    for (std::size_t i = 0; i < requests.size(); ++i) {
      ASSERT_TRUE(engine.submit(requests[i], collectors[i].sink()).has_value());
    }
    bench.chain.hold(false);
    std::vector<Answer> answers;
    for (const Collector& collector : collectors) answers.push_back(collector.wait());
    expect_same(answers, alone);
    EXPECT_TRUE(bench.is_idle());
    EXPECT_TRUE(loses.contains(0) || loses.empty() ? bench.chain.n_rebuilt() == 0 : bench.chain.n_rebuilt() > 0);
  }
}

TEST(EngineRecovery, WhatStagesSayTheyKeptIsBelievedOnce) {
  Bench bench;
  bench.chain.loses = {};
  bench.chain.faults.push_back({6, Code::kDataLoss, {}, 2});  // a decode, and the same one again
  std::vector<GenerationRequest> requests = {make_request(200, 8, 1)};
  requests[0].ignore_eos = true;
  expect_same(run_together(bench.start(), requests), run_alone(requests));
  EXPECT_EQ(bench.engine->stats().kept, 1u);
  EXPECT_EQ(bench.engine->stats().replays, 1u) << "computed whole, since it did not get on";
  EXPECT_TRUE(bench.is_idle());
}

TEST(EngineRecovery, APlannedMoveThrowsNoStepAway) {
  const std::vector<GenerationRequest> requests = mixed_requests(24);
  const std::vector<Answer> alone = run_alone(requests);
  EngineOptions options = small_options();
  options.steps_in_flight = 3;
  for (const auto& [at, loses] : breaks()) {
    Bench bench(options);
    bench.chain.loses = loses;
    bench.chain.ask_to_move(at + 1);
    bench.chain.hold(true);
    Engine& engine = bench.start();
    std::vector<Collector> collectors(requests.size());
    for (std::size_t i = 0; i < requests.size(); ++i) {
      ASSERT_TRUE(engine.submit(requests[i], collectors[i].sink()).has_value());
    }
    bench.chain.hold(false);
    std::vector<Answer> answers;
    for (const Collector& collector : collectors) answers.push_back(collector.wait());
    expect_same(answers, alone);
    EXPECT_EQ(bench.chain.n_moves(), 1);
    EXPECT_TRUE(loses.empty() || bench.engine->stats().kept == 0);
    EXPECT_TRUE(!loses.empty() || bench.engine->stats().replays == 0);
    EXPECT_TRUE(bench.is_idle());
  }
}

TEST(EngineRecovery, StreamsThatLiveShorterThanAReplayTakesStillGetOn) {
  const std::vector<GenerationRequest> requests = {make_request(200, 4, 1), make_request(150, 4, 2)};
  const std::vector<Answer> alone = run_alone(requests);
  EngineOptions options = small_options();
  options.max_step_rows = 20;  // a replay takes some 18 steps
  for (const std::uint64_t age : {1u, 10u}) {
    Bench bench(options);
    bench.chain.max_age = age;
    expect_same(run_together(bench.start(), requests), alone);
    EXPECT_GT(bench.chain.n_moves(), 0);
    EXPECT_TRUE(bench.is_idle());
  }
}

TEST(EngineRecovery, AnOutageRefusesNewRequestsAndEndsRunningOnesAfterTheLimit) {
  EngineOptions options = small_options();
  options.recovery_limit = std::chrono::milliseconds(60);
  Bench bench(options);
  bench.chain.faults = {{2, Code::kDeadlineExceeded, std::chrono::milliseconds::max()}};
  Engine& engine = bench.start();
  const Answer answer = run_one(engine, make_request(4, 30));
  ASSERT_TRUE(answer.error.has_value());
  EXPECT_EQ(answer.error->code(), Code::kUnavailable);
  EXPECT_FALSE(engine.health().has_value());
  const auto refused = engine.submit(make_request(4, 4), [](GenerationEvent) {});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Code::kUnavailable);
  bench.chain.set_down(false);
  EXPECT_TRUE(bench.until([&] { return engine.health().has_value(); }));
  EXPECT_EQ(run_one(engine, make_request(4, 4)).error, std::nullopt);
}

TEST(EngineRecovery, ARequestSurvivesManyBreaksWithinTheLimit) {
  Bench quiet, shaken;
  shaken.chain.faults = {{0, Code::kUnavailable, {}, 10}};
  const Answer expected = run_one(quiet.start(), make_request(4, 4));
  EXPECT_TRUE(run_one(shaken.start(), make_request(4, 4)).same(expected));
}

TEST(EngineRecovery, ARequestThatKeepsBreakingTheChainIsGivenUp) {
  EngineOptions options = small_options();
  options.recovery_limit = std::chrono::milliseconds(1);
  Bench bench(options);
  bench.chain.faults = {{0, Code::kUnavailable, {}, std::numeric_limits<std::uint64_t>::max()}};
  const Answer answer = run_one(bench.start(), make_request(4, 4));
  ASSERT_TRUE(answer.error.has_value());
  EXPECT_GE(bench.chain.n_steps(), 4u);
}

TEST(EngineRecovery, AStepErrorFailsOnlyTheStepsOwnSequences) {
  EngineOptions options = small_options();
  options.steps_in_flight = 1;
  options.max_step_rows = 4;
  Bench bench(options);
  bench.chain.faults = {{1, Code::kInternal, {}}};  // step 0 holds the first prompt, step 1 also the second
  bench.chain.hold(true);
  Engine& engine = bench.start();
  Collector first, second, third;
  ASSERT_TRUE(engine.submit(make_request(8, 4, 1), first.sink()).has_value());
  ASSERT_TRUE(engine.submit(make_request(9, 4, 2), second.sink()).has_value());
  ASSERT_TRUE(engine.submit(make_request(9, 4, 3), third.sink()).has_value());
  bench.chain.hold(false);
  ASSERT_TRUE(first.wait().error.has_value());
  EXPECT_EQ(first.wait().error->code(), Code::kInternal);
  EXPECT_EQ(second.wait().error, std::nullopt);
  EXPECT_EQ(third.wait().error, std::nullopt);
  EXPECT_TRUE(bench.is_idle());
}

TEST(EngineRecovery, AWrongAnswerIsAClearErrorAndTheEngineGoesOn) {
  Bench bench;
  std::atomic<int> n_spoilt = 0;
  bench.chain.spoil = [&](SampledTokens& tokens) {
    if (n_spoilt++ == 0) tokens.results.clear();
  };
  Engine& engine = bench.start();
  const Answer answer = run_one(engine, make_request(4, 4));
  ASSERT_TRUE(answer.error.has_value());
  EXPECT_EQ(answer.error->code(), Code::kDataLoss);
  EXPECT_EQ(run_one(engine, make_request(4, 4)).error, std::nullopt);
}

TEST(EngineRecovery, AChainThatIsDownRefusesAtOnce) {
  Bench bench;
  bench.chain.set_down(true);
  Engine& engine = bench.start();
  const auto refused = engine.submit(make_request(4, 4), [](GenerationEvent) {});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Code::kUnavailable);
  bench.chain.set_down(false);
  EXPECT_EQ(run_one(engine, make_request(4, 4)).error, std::nullopt);
}

}  // namespace
}  // namespace commissure
