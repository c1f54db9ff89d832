#include <gtest/gtest.h>

#include <limits>

#include "support/engine_test_support.h"

namespace commissure {
namespace {

/// After which step a stream ends, and what is lost with it.
std::vector<std::pair<std::uint64_t, StageSpan>> breaks() {
  std::vector<std::pair<std::uint64_t, StageSpan>> all;
  for (const StageSpan loses : {kAllStages, StageSpan{}, StageSpan{1, 1}}) {
    for (const std::uint64_t at : {0u, 1u, 2u, 5u, 11u, 29u}) all.emplace_back(at, loses);
  }
  return all;
}

/// The answers to all requests, which are accepted before the first step, and so before the first fault.
std::vector<Answer> run_held(Bench& bench, const std::vector<GenerationRequest>& requests) {
  bench.chain.hold(true);
  Engine& engine = bench.start();
  std::vector<Collector> collectors(requests.size());
  for (std::size_t i = 0; i < requests.size(); ++i) {
    EXPECT_TRUE(engine.submit(requests[i], collectors[i].sink()).has_value());
  }
  bench.chain.hold(false);
  std::vector<Answer> answers;
  for (const Collector& collector : collectors) answers.push_back(collector.wait());
  return answers;
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
    expect_same(run_held(bench, requests), alone);
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

TEST(EngineRecovery, ABreakWithinStageACostsNoRebuild) {
  Bench bench;
  bench.chain.loses = {1, 1};  // what the stream's handshake said long ago
  bench.chain.faults = {
      {6, Code::kDataLoss, {}, 1, true}, {20, Code::kUnavailable, {}}, {30, Code::kDataLoss, {}, 1, true}};
  std::vector<GenerationRequest> requests = {make_request(200, 40, 1)};
  requests[0].ignore_eos = true;
  expect_same(run_together(bench.start(), requests), run_alone(requests));
  EXPECT_EQ(bench.engine->stats().kept, 2u);
  EXPECT_EQ(bench.engine->stats().replays, 1u) << "after the break of the stream";
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
    expect_same(run_held(bench, requests), alone);
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

TEST(EngineRecovery, WhoComesDuringAnOutageWaitsAsTheRunningOnesDo) {
  const std::vector<GenerationRequest> requests = mixed_requests(8);
  const std::vector<Answer> alone = run_alone(requests);
  for (const StageSpan loses : {kAllStages, StageSpan{}, StageSpan{1, 1}}) {
    Bench bench;
    bench.chain.loses = loses;
    bench.chain.faults = {{0, Code::kUnavailable, std::chrono::milliseconds::max()}};
    Engine& engine = bench.start();
    std::vector<Collector> collectors(requests.size());
    ASSERT_TRUE(engine.submit(requests[0], collectors[0].sink()).has_value());
    ASSERT_TRUE(bench.until([&] { return !engine.health().has_value(); }));
    for (std::size_t i = 1; i < requests.size(); ++i) {
      ASSERT_TRUE(engine.submit(requests[i], collectors[i].sink()).has_value());
    }
    EXPECT_FALSE(collectors.back().is_done(std::chrono::milliseconds(50)));
    bench.chain.set_down(false);
    std::vector<Answer> answers;
    for (const Collector& collector : collectors) answers.push_back(collector.wait());
    expect_same(answers, alone);
    EXPECT_TRUE(bench.is_idle());
  }
}

TEST(EngineRecovery, AfterTheLimitAllGetAnErrorAndNewRequestsARefusalAtOnce) {
  EngineOptions options = small_options();
  options.recovery_limit = std::chrono::milliseconds(200);
  Bench bench(options);
  bench.chain.faults = {{2, Code::kDeadlineExceeded, std::chrono::milliseconds::max()}};
  Engine& engine = bench.start();
  Collector running, waiting;
  ASSERT_TRUE(engine.submit(make_request(4, 30), running.sink()).has_value());
  ASSERT_TRUE(bench.until([&] { return !engine.health().has_value(); }));
  ASSERT_TRUE(engine.submit(make_request(4, 30), waiting.sink()).has_value());
  for (const Collector* each : {&running, &waiting}) {
    ASSERT_TRUE(each->wait().error.has_value());
    EXPECT_EQ(each->wait().error->code(), Code::kUnavailable);
  }
  EXPECT_EQ(running.wait().error->message(), waiting.wait().error->message());
  EXPECT_FALSE(engine.health().has_value());
  const auto refused = engine.submit(make_request(4, 4), [](GenerationEvent) {});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Code::kUnavailable);
  EXPECT_EQ(refused.error().message(), running.wait().error->message());
  bench.chain.set_down(false);
  EXPECT_TRUE(bench.until([&] { return engine.health().has_value(); }));
  EXPECT_EQ(run_one(engine, make_request(4, 4)).error, std::nullopt);
}

TEST(EngineRecovery, ABreakWhileNothingRanMakesNewRequestsWait) {
  Bench bench;
  Engine& engine = bench.start();
  const Answer before = run_one(engine, make_request(4, 4));
  ASSERT_TRUE(bench.is_idle());
  bench.chain.set_down(true);
  Collector collector;
  ASSERT_TRUE(engine.submit(make_request(4, 4), collector.sink()).has_value());
  EXPECT_FALSE(collector.is_done(std::chrono::milliseconds(50)));
  EXPECT_EQ(engine.stats().running, 0) << "a chain that is away gets no step";
  bench.chain.set_down(false);
  EXPECT_TRUE(collector.wait().same(before));
}

TEST(EngineRecovery, AChainThatHealthCalledWellIsExpectedBack) {
  Bench bench;
  Engine& engine = bench.start();
  ASSERT_TRUE(engine.health().has_value());
  bench.chain.set_down(true);  // before the engine itself has looked at it
  Collector collector;
  ASSERT_TRUE(engine.submit(make_request(4, 4), collector.sink()).has_value());
  EXPECT_FALSE(collector.is_done(std::chrono::milliseconds(50)));
  bench.chain.set_down(false);
  EXPECT_EQ(collector.wait().error, std::nullopt);
}

TEST(EngineRecovery, TheLimitOfAnIdleChainCountsFromItsBreak) {
  EngineOptions options = small_options();
  options.recovery_limit = std::chrono::milliseconds(1);
  Bench bench(options);
  Engine& engine = bench.start();
  run_one(engine, make_request(4, 4));
  bench.chain.set_down(true);
  const auto is_refused = [&] {
    const auto taken = engine.submit(make_request(4, 4), [](GenerationEvent) {});
    return !taken && taken.error().code() == Code::kUnavailable;
  };
  EXPECT_TRUE(bench.until(is_refused));
  EXPECT_TRUE(is_refused());
}

/// Three that wait: one to be cancelled, one with a short timeout, one that stays.
struct Waiting {
  Collector left, late, stays;
  RequestHandle leaves = 0;

  explicit Waiting(Engine& engine) {
    const auto first = engine.submit(make_request(4, 4), left.sink());
    EXPECT_TRUE(first.has_value());
    leaves = first.value_or(0);
    GenerationRequest hasty = make_request(4, 4);
    hasty.timeout = std::chrono::milliseconds(30);
    EXPECT_TRUE(engine.submit(hasty, late.sink()).has_value());
    EXPECT_TRUE(engine.submit(make_request(4, 4), stays.sink()).has_value());
  }
  void expect_timeout() const {
    ASSERT_TRUE(late.wait().error.has_value());
    EXPECT_EQ(late.wait().error->code(), Code::kDeadlineExceeded);
  }
};

TEST(EngineRecovery, WhoWaitsInAnOutageKeepsItsLimits) {
  EngineOptions options = small_options();
  options.max_sequences = 1;
  options.queue_limit = 2;
  Bench bench(options);
  Engine& engine = bench.start();
  run_one(engine, make_request(4, 4));
  bench.chain.set_down(true);
  const Waiting waiting(engine);
  const auto refused = engine.submit(make_request(4, 4), [](GenerationEvent) {});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Code::kResourceExhausted);
  engine.cancel(waiting.leaves);
  waiting.expect_timeout();
  bench.chain.set_down(false);
  EXPECT_EQ(waiting.stays.wait().error, std::nullopt);
  EXPECT_FALSE(waiting.left.is_done());
  EXPECT_TRUE(bench.is_idle());
}

TEST(EngineRecovery, WhoWaitsForAChainThatWakesKeepsItsLimits) {
  Bench bench;
  bench.chain.is_waking = true;
  Engine& engine = bench.start();
  const Waiting waiting(engine);
  waiting.expect_timeout();
  engine.cancel(waiting.leaves);
  EXPECT_TRUE(bench.until([&] { return engine.stats().waiting == 1; }));
  EXPECT_FALSE(waiting.stays.is_done());
  bench.chain.is_waking = false;
  EXPECT_EQ(waiting.stays.wait().error, std::nullopt);
  EXPECT_TRUE(bench.is_idle());
}

TEST(EngineRecovery, AnEngineThatShutsDownLetsNobodyWait) {
  Bench bench;
  Engine& engine = bench.start();
  run_one(engine, make_request(4, 4));
  bench.chain.set_down(true);
  Collector collector;
  ASSERT_TRUE(engine.submit(make_request(4, 4), collector.sink()).has_value());
  engine.drain(std::chrono::milliseconds(20));
  ASSERT_TRUE(collector.wait().error.has_value());
  EXPECT_EQ(collector.wait().error->code(), Code::kUnavailable);
  EXPECT_FALSE(engine.submit(make_request(4, 4), [](GenerationEvent) {}).has_value());
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

TEST(EngineRecovery, AChainThatWasNeverReadyRefusesAtOnce) {
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
