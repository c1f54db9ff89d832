#include <gtest/gtest.h>

#include <new>

#include "support/engine_test_support.h"
#include "support/failing_new.h"

namespace commissure {
namespace {

/// A sink that has no memory for the first events it gets.
EventSink without_memory(int n_events, const EventSink& then) {
  return [left = std::make_shared<int>(n_events), then](GenerationEvent event) {
    if ((*left)-- > 0) throw std::bad_alloc();
    then(std::move(event));
  };
}

TEST(EngineMemory, AnEventWithoutMemoryEndsItsRequestAlone) {
  const std::vector<GenerationRequest> requests = {make_request(40, 60, 1), make_request(40, 60, 2)};
  const std::vector<Answer> alone = run_alone(requests);
  Bench bench;
  Engine& engine = bench.start();
  for (const bool is_only_event : {false, true}) {
    Collector poor, bystander;
    const int n_tokens = is_only_event ? 1 : 60;
    ASSERT_TRUE(engine.submit(make_request(40, n_tokens, 3), without_memory(1, poor.sink())).has_value());
    ASSERT_TRUE(engine.submit(requests[1], bystander.sink()).has_value());
    EXPECT_TRUE(bystander.wait().same(alone[1]));
    ASSERT_TRUE(poor.wait().error.has_value());
    EXPECT_EQ(poor.wait().error->code(), Code::kUnavailable);
  }
  EXPECT_TRUE(run_one(engine, requests[0]).same(alone[0]));
  EXPECT_TRUE(bench.is_idle());
}

#ifdef COMMISSURE_FAILING_NEW

constexpr std::size_t kMuch = 60'000;

/// Its lists are one allocation of more than kMuch.
GenerationRequest big_request(std::uint64_t seed) {
  GenerationRequest request = make_request(4, 4, seed);
  request.sampling.allowed.assign(kMaxTokenList, TokenId('a'));
  return request;
}

void expect_no_memory(const Collector& collector) {
  ASSERT_TRUE(collector.wait().error.has_value());
  EXPECT_EQ(collector.wait().error->code(), Code::kUnavailable);
  EXPECT_NE(collector.wait().error->message().find("no memory"), std::string::npos);
}

TEST(EngineMemory, ARequestThatIsTakenInWithoutMemoryFailsAlone) {
  const GenerationRequest long_one = make_request(40, 60);
  const std::vector<Answer> alone = run_alone({long_one});
  Bench bench;
  Engine& engine = bench.start();
  Collector bystander, big;
  ASSERT_TRUE(engine.submit(long_one, bystander.sink()).has_value());
  {
    const FailingNew failing(kMuch);
    ASSERT_TRUE(engine.submit(big_request(2), big.sink()).has_value());
    expect_no_memory(big);
    EXPECT_GT(failing.n_failed(), 0);
  }
  EXPECT_TRUE(bystander.wait().same(alone[0]));
  EXPECT_FALSE(run_one(engine, big_request(3)).error.has_value()) << "and it may come again";
  EXPECT_TRUE(bench.is_idle());
}

TEST(EngineMemory, AStepThatIsPlannedWithoutMemoryFailsItsRequests) {
  const GenerationRequest first = make_request(40, 60, 1), last = make_request(40, 60, 4);
  const std::vector<Answer> alone = run_alone({first, last});
  EngineOptions options = small_options();
  options.max_sequences = 1;
  Bench bench(options);
  Engine& engine = bench.start();
  bench.chain.hold(true);
  Collector running, big, waiting;
  ASSERT_TRUE(engine.submit(first, running.sink()).has_value());
  ASSERT_TRUE(engine.submit(big_request(2), big.sink()).has_value());
  ASSERT_TRUE(engine.submit(last, waiting.sink()).has_value());
  ASSERT_TRUE(Bench::until([&] { return engine.stats().waiting == 2; }));
  {
    const FailingNew failing(kMuch);
    bench.chain.hold(false);
    expect_no_memory(big);
    EXPECT_GT(failing.n_failed(), 0);
  }
  EXPECT_TRUE(running.wait().same(alone[0]));
  EXPECT_TRUE(waiting.wait().same(alone[1]));
  EXPECT_TRUE(bench.is_idle());
}

TEST(EngineMemory, AnAnswerWithoutMemoryFailsItsRequestAlone) {
  GenerationRequest scored = make_request(900, 4, 2);
  scored.prompt_logprobs = 0;
  const GenerationRequest bystander = make_request(40, 60);
  const std::vector<Answer> alone = run_alone({bystander});
  Bench bench;
  Engine& engine = bench.start();
  Collector other, poor;
  bench.chain.hold(true);
  ASSERT_TRUE(engine.submit(bystander, other.sink()).has_value());
  ASSERT_TRUE(engine.submit(scored, poor.sink()).has_value());
  {
    const FailingNew failing(500 * sizeof(ScoredToken));  // the scores of its whole prompt, not of a chunk
    bench.chain.hold(false);
    expect_no_memory(poor);
    EXPECT_GT(failing.n_failed(), 0);
  }
  EXPECT_TRUE(other.wait().same(alone[0]));
  EXPECT_TRUE(bench.is_idle());
}

#endif

}  // namespace
}  // namespace commissure
