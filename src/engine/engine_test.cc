#include "engine/engine.h"

#include <gtest/gtest.h>

#include "support/engine_test_support.h"

namespace commissure {
namespace {

using std::chrono::milliseconds;

Code refusal(Engine& engine, GenerationRequest request) {
  const auto handle =
      engine.submit(std::move(request), [](GenerationEvent) { ADD_FAILURE() << "refused, yet called"; });
  return handle ? Code::kOk : handle.error().code();
}

TEST(Engine, GeneratesUpToMaxTokens) {
  Bench bench;
  GenerationRequest request = make_request(5, 12);
  request.ignore_eos = true;
  const Answer answer = run_one(bench.start(), request);
  EXPECT_EQ(answer.finish, FinishReason::kLength);
  EXPECT_EQ(answer.usage.prompt_tokens, 5);
  EXPECT_EQ(answer.usage.completion_tokens, 12);
  EXPECT_EQ(answer.text.size(), 12u);
  EXPECT_EQ(answer.tokens.size(), 12u);
  EXPECT_TRUE(bench.is_idle());
}

TEST(Engine, EndsAtTheEndTokenAndCountsIt) {
  Bench bench;
  Engine& engine = bench.start();
  const Answer answer = run_one(engine, make_request(5, -1, 3));
  ASSERT_EQ(answer.finish, FinishReason::kStop);
  EXPECT_EQ(answer.stop_token, TokenId(FakeTokenizer::kEos));
  EXPECT_EQ(answer.usage.completion_tokens, static_cast<int>(answer.text.size()) + 1);
  EXPECT_EQ(answer.tokens.size(), answer.text.size());
}

TEST(Engine, MinusOneFillsTheContext) {
  Bench bench(small_options(), 100);
  GenerationRequest request = make_request(40, -1);
  request.ignore_eos = true;
  const Answer answer = run_one(bench.start(), request);
  EXPECT_EQ(answer.finish, FinishReason::kLength);
  EXPECT_EQ(answer.usage.completion_tokens, 60);
}

TEST(Engine, ScoresAChunkedPromptInOneFirstEvent) {
  EngineOptions options = small_options();
  options.max_step_rows = 7;
  Bench bench(options);
  GenerationRequest request = make_request(30, 0);
  request.prompt_logprobs = 1;
  const Answer answer = run_one(bench.start(), request);
  EXPECT_EQ(answer.finish, FinishReason::kLength);
  EXPECT_EQ(answer.n_events, 1);
  ASSERT_EQ(answer.prompt_scores.size(), 29u);
  for (std::size_t i = 0; i < 29; ++i) EXPECT_EQ(answer.prompt_scores[i].chosen.token, request.prompt[i + 1]);
  EXPECT_EQ(answer.prompt_scores[3].top.size(), 1u);
}

TEST(Engine, NothingToDoEndsAtOnce) {
  Bench bench;
  const Answer answer = run_one(bench.start(), make_request(3, 0));
  EXPECT_EQ(answer.finish, FinishReason::kLength);
  EXPECT_EQ(bench.chain.n_steps(), 0u);
}

TEST(Engine, LogprobsFollowTheTokens) {
  Bench bench;
  GenerationRequest request = make_request(9, 20);
  request.sampling.n_logprobs = 2;
  request.prompt_logprobs = 4;
  const Answer answer = run_one(bench.start(), request);
  ASSERT_FALSE(answer.tokens.empty());
  for (const GeneratedToken& token : answer.tokens) {
    ASSERT_TRUE(token.score.has_value());
    EXPECT_EQ(token.score->chosen.token, token.token);
    EXPECT_EQ(token.score->top.size(), 2u);
  }
  EXPECT_EQ(answer.prompt_scores.at(0).top.size(), 4u);
  request.sampling.n_logprobs = 3;
  request.prompt_logprobs = 1;
  EXPECT_EQ(run_one(*bench.engine, request).prompt_scores.at(0).top.size(), 1u);
}

TEST(Engine, RefusesWhatItCannotServe) {
  Bench bench(small_options(), 100);
  Engine& engine = bench.start();
  EXPECT_EQ(refusal(engine, make_request(0, 1)), Code::kInvalidArgument);
  GenerationRequest unknown = make_request(2, 1);
  unknown.prompt[1] = TokenId(FakeTokenizer::kTokens);
  EXPECT_EQ(refusal(engine, unknown), Code::kInvalidArgument);
  GenerationRequest hot = make_request(2, 1);
  hot.sampling.top_p = 2.0f;
  EXPECT_EQ(refusal(engine, hot), Code::kInvalidArgument);
  EXPECT_EQ(refusal(engine, make_request(90, 11)), Code::kOutOfRange);
  EXPECT_EQ(refusal(engine, make_request(100, -1)), Code::kOutOfRange);
  EXPECT_EQ(refusal(engine, make_request(2, std::numeric_limits<int>::max())), Code::kOutOfRange);
  const auto status = engine.submit(make_request(90, 11), [](GenerationEvent) {});
  EXPECT_NE(status.error().message().find("100"), std::string::npos);
  EXPECT_NE(status.error().message().find("90"), std::string::npos);
  EXPECT_EQ(run_one(engine, make_request(90, 10)).usage.prompt_tokens, 90);
}

TEST(Engine, RefusesWhatTheCacheCanNeverHold) {
  EngineOptions options = small_options();
  options.n_kv_blocks = 2;
  Bench bench(options);
  Engine& engine = bench.start();
  EXPECT_EQ(refusal(engine, make_request(100, 29)), Code::kOutOfRange);
  EXPECT_EQ(run_one(engine, make_request(100, 28)).error, std::nullopt);
}

TEST(Engine, AFullQueueRefusesAtOnce) {
  EngineOptions options = small_options();
  options.max_sequences = 1;
  options.queue_limit = 2;
  Bench bench(options);
  Engine& engine = bench.start();
  bench.chain.hold(true);
  std::vector<Collector> collectors(3);
  for (Collector& collector : collectors) ASSERT_TRUE(engine.submit(make_request(4, 4), collector.sink()).has_value());
  EXPECT_EQ(refusal(engine, make_request(4, 4)), Code::kResourceExhausted);
  EXPECT_EQ(engine.admission().error().code(), Code::kResourceExhausted);
  bench.chain.hold(false);
  for (const Collector& collector : collectors) EXPECT_EQ(collector.wait().error, std::nullopt);
  EXPECT_EQ(run_one(engine, make_request(4, 4)).error, std::nullopt);
}

TEST(Engine, ACancelledRequestIsSilentAndItsBlocksAreFree) {
  EngineOptions options = small_options();
  options.max_sequences = 2;
  Bench bench(options);
  bench.chain.delay = std::chrono::microseconds(300);
  Engine& engine = bench.start();
  const Answer alone = run_one(engine, make_request(10, 40, 77));
  for (int round = 0; round < 12; ++round) {
    Collector other, running, queued;
    ASSERT_TRUE(engine.submit(make_request(10, 40, 77), other.sink()).has_value());
    GenerationRequest endless = make_request(200, 500);  // rounds cancel it in prefill or decode
    endless.ignore_eos = true;
    const auto first = engine.submit(endless, running.sink());
    const auto second = engine.submit(endless, queued.sink());
    ASSERT_TRUE(first.has_value() && second.has_value());
    std::this_thread::sleep_for(std::chrono::microseconds(700 * round));
    engine.cancel(*second);
    engine.cancel(*first);
    const int n_events = running.n_events();
    EXPECT_TRUE(other.wait().same(alone));
    EXPECT_EQ(running.n_events(), n_events);
    EXPECT_FALSE(running.is_done());
    EXPECT_TRUE(bench.is_idle());
  }
  engine.cancel(123456);
  EXPECT_NE(engine.metrics_text().find("finished_reason=\"abort\",model_name=\"fake\"} 24"), std::string::npos)
      << engine.metrics_text();
}

TEST(Engine, ASinkMayCancelItsOwnRequest) {
  Bench bench;
  Engine& engine = bench.start();
  std::promise<RequestHandle> handle;
  std::shared_future<RequestHandle> known = handle.get_future().share();
  std::atomic<int> calls = 0;
  GenerationRequest endless = make_request(4, 900);
  endless.ignore_eos = true;
  const auto submitted = engine.submit(endless, [&, known](GenerationEvent) {
    ++calls;
    engine.cancel(known.get());
  });
  ASSERT_TRUE(submitted.has_value());
  handle.set_value(*submitted);
  EXPECT_TRUE(bench.until([&] { return calls > 0; }));
  EXPECT_TRUE(bench.is_idle());
  EXPECT_EQ(calls, 1);
}

TEST(Engine, ATimeoutEndsARequestWithAnError) {
  Bench bench;
  Engine& engine = bench.start();
  bench.chain.hold(true);
  GenerationRequest request = make_request(4, 4);
  request.timeout = milliseconds(20);
  const Answer answer = run_one(engine, request);
  EXPECT_EQ(answer.finish, FinishReason::kError);
  ASSERT_TRUE(answer.error.has_value());
  EXPECT_EQ(answer.error->code(), Code::kDeadlineExceeded);
  EXPECT_TRUE(bench.is_idle());
  bench.chain.hold(false);
  EXPECT_EQ(run_one(engine, make_request(4, 4)).error, std::nullopt);
}

TEST(Engine, DrainLetsRunningRequestsFinish) {
  Bench bench;
  bench.chain.delay = std::chrono::microseconds(300);
  Engine& engine = bench.start();
  Collector collector;
  GenerationRequest request = make_request(4, 30);
  request.ignore_eos = true;
  ASSERT_TRUE(engine.submit(request, collector.sink()).has_value());
  engine.drain(std::chrono::seconds(10));
  ASSERT_TRUE(collector.is_done());
  EXPECT_EQ(collector.wait().finish, FinishReason::kLength);
  EXPECT_EQ(refusal(engine, make_request(4, 4)), Code::kUnavailable);
  EXPECT_FALSE(engine.health().has_value());
}

TEST(Engine, DrainGivesTheRestAnErrorAfterTheGrace) {
  Bench bench;
  Engine& engine = bench.start();
  bench.chain.hold(true);
  Collector collector;
  ASSERT_TRUE(engine.submit(make_request(4, 30), collector.sink()).has_value());
  engine.drain(milliseconds(20));
  ASSERT_TRUE(collector.is_done());
  EXPECT_EQ(collector.wait().error->code(), Code::kUnavailable);
}

TEST(Engine, DestructionEndsEveryRequest) {
  Collector collector;
  {
    Bench bench;
    bench.chain.hold(true);
    ASSERT_TRUE(bench.start().submit(make_request(4, 30), collector.sink()).has_value());
  }
  ASSERT_TRUE(collector.is_done());
  EXPECT_EQ(collector.wait().error->code(), Code::kUnavailable);
}

TEST(Engine, MetricsHaveTheNamesOfTheField) {
  Bench bench;
  Engine& engine = bench.start();
  run_one(engine, make_request(4, 4));
  const std::string text = engine.metrics_text();
  for (const char* name : {"num_requests_running",
                           "num_requests_waiting",
                           "kv_cache_usage_perc",
                           "prompt_tokens_total",
                           "generation_tokens_total",
                           "request_success_total",
                           "num_preemptions_total",
                           "time_to_first_token_seconds",
                           "inter_token_latency_seconds",
                           "e2e_request_latency_seconds",
                           "request_queue_time_seconds",
                           "request_prefill_time_seconds",
                           "request_decode_time_seconds",
                           "iteration_tokens",
                           "stage_compute_seconds",
                           "stage_queue_seconds",
                           "stage_wire_seconds",
                           "stage_idle_seconds_total",
                           "stage_rows_total",
                           "stage_boundary_bytes_total",
                           "kv_blocks",
                           "kv_blocks_used",
                           "request_prompt_tokens",
                           "request_generation_tokens",
                           "request_inference_time_seconds",
                           "request_time_per_output_token_seconds"}) {
    EXPECT_NE(text.find("\n# TYPE commissure_" + std::string(name) + " "), std::string::npos) << name;
  }
}

}  // namespace
}  // namespace commissure
