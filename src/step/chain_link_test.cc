#include "step/chain_link.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "core/queue.h"

namespace commissure {
namespace {

using namespace std::chrono_literals;

/// A stage on a thread of its own whose behaviour is a function of the input.
class FakeLink final : public StageLink {
 public:
  using Work = std::function<Result<StageOutput>(StageInput)>;
  explicit FakeLink(Work work) : work_(std::move(work)) {}
  ~FakeLink() override { stop(); }

  void start(Sink sink) override {
    sink_ = std::move(sink);
    thread_ = std::jthread([this](const std::stop_token& stop) {
      while (auto input = inbox_.pop(stop)) {
        hold_.wait(true);
        sink_(stop.stop_requested() ? Result<StageOutput>(Error(Code::kCancelled, "stop")) : work_(std::move(*input)));
      }
      while (inbox_.try_pop()) sink_(Error(Code::kCancelled, "stop"));
    });
  }
  Status submit(StageInput input) override {
    if (refuse_) return Error(Code::kUnavailable, "refused");
    if (!inbox_.push(std::move(input))) return Error(Code::kUnavailable, "stopped");
    return {};
  }
  Status health() const override {
    if (refuse_) return Error(Code::kUnavailable, "refused");
    return {};
  }
  void stop() override {
    inbox_.close();
    thread_.request_stop();
    release();
    if (thread_.joinable()) thread_.join();
  }

  Result<std::uint64_t> load_adapter(const AdapterSource& source, std::chrono::milliseconds,
                                     const std::stop_token&) override {
    if (adapter_bytes == 0) return Error(Code::kNotFound, "no files of ", source.name);
    return adapter_bytes;
  }
  void drop_adapter(AdapterId) override { ++n_dropped; }
  std::uint64_t adapter_bytes = 0;
  int n_dropped = 0;

  void hold() { hold_ = true; }
  void release() {
    hold_ = false;
    hold_.notify_all();
  }
  void refuse(bool on) { refuse_ = on; }

 private:
  Work work_;
  Sink sink_;
  BoundedQueue<StageInput> inbox_{4};
  std::atomic<bool> hold_ = false;
  std::atomic<bool> refuse_ = false;
  std::jthread thread_;
};

StageInput step(std::uint64_t id) {
  StageInput input;
  input.batch.step = StepId(id);
  return input;
}

FakeLink::Work layers(std::string name) {
  return [name](StageInput input) -> Result<StageOutput> {
    const StepId id = input.batch.step;
    return StageOutput{std::move(input.batch), make_boundary(id, 1, 2, {1, 2}), {{name, 1, 2, 0}}};
  };
}

FakeLink::Work sampler(std::string name) {
  return [name](StageInput input) -> Result<StageOutput> {
    if (input.boundary.values.size() != 2) return Error(Code::kInternal, "no boundary");
    const StepId id = input.batch.step;
    return StageOutput{std::move(input.batch), SampledTokens{id, {}, {}}, {{name, 3, 4, 0}}};
  };
}

/// As `work`, but step `id` fails with `code`.
FakeLink::Work failing(FakeLink::Work work, std::uint64_t id, Code code) {
  return [=](StageInput input) -> Result<StageOutput> {
    if (input.batch.step == StepId(id)) return Error(code, "step ", id, " fails");
    return work(std::move(input));
  };
}

/// Collects answers; a wait that takes more than five seconds fails the test instead of hanging it.
struct Answers {
  BoundedQueue<Result<StageOutput>> queue{1000};
  StageLink::Sink sink() {
    return [this](Result<StageOutput> output) { queue.push(std::move(output)); };
  }
  Result<StageOutput> next() {
    auto answer = queue.pop_for(5s);
    if (!answer) return Error(Code::kUnknown, "no answer came");
    return *answer;
  }
  Code next_code() {
    const auto answer = next();
    return answer ? Code::kOk : answer.error().code();
  }
};

TEST(ChainLink, PassesStepsThroughBothInOrderAndJoinsTimings) {
  FakeLink a(layers("a"));
  FakeLink b(sampler("b"));
  Answers answers;
  ChainLink chain(a, b);
  chain.start(answers.sink());
  std::jthread submitter([&] {
    for (std::uint64_t i = 0; i < 100; ++i) ASSERT_TRUE(chain.submit(step(i)).has_value());
  });
  for (std::uint64_t i = 0; i < 100; ++i) {
    const auto answer = answers.next();
    ASSERT_TRUE(answer.has_value()) << answer.error().message();
    EXPECT_EQ(answer->batch.step, StepId(i));
    ASSERT_EQ(answer->timings.size(), 2u);
    EXPECT_EQ(answer->timings[0].stage, "a");
    EXPECT_EQ(answer->timings[1].stage, "b");
    EXPECT_EQ(std::get<SampledTokens>(answer->value).timings, answer->timings);
  }
  submitter.join();
  chain.stop();
}

TEST(ChainLink, NestsToThreeStages) {
  FakeLink a(layers("a"));
  FakeLink b(layers("b"));
  FakeLink c(sampler("c"));
  Answers answers;
  ChainLink tail(b, c);
  ChainLink chain(a, tail);
  chain.start(answers.sink());
  ASSERT_TRUE(chain.submit(step(7)).has_value());
  const auto answer = answers.next();
  ASSERT_TRUE(answer.has_value());
  ASSERT_EQ(answer->timings.size(), 3u);
  EXPECT_EQ(answer->timings[2].stage, "c");
  chain.stop();
}

TEST(ChainLink, AnErrorOfOneStepLeavesTheOthersAlone) {
  FakeLink a(failing(layers("a"), 1, Code::kInvalidArgument));
  FakeLink b(failing(sampler("b"), 3, Code::kResourceExhausted));
  Answers answers;
  ChainLink chain(a, b);
  chain.start(answers.sink());
  b.hold();  // step 1's error is ready before step 0's answer and must wait for it
  for (std::uint64_t i = 0; i < 5; ++i) ASSERT_TRUE(chain.submit(step(i)).has_value());
  b.release();
  const Code expected[] = {Code::kOk, Code::kInvalidArgument, Code::kOk, Code::kResourceExhausted, Code::kOk};
  for (const Code code : expected) EXPECT_EQ(answers.next_code(), code);
  chain.stop();
}

TEST(ChainLink, ABrokenRestFailsEveryStepInFlightAndThenWorksAgain) {
  FakeLink a(layers("a"));
  FakeLink b(failing(sampler("b"), 0, Code::kUnavailable));
  Answers answers;
  ChainLink chain(a, b);
  b.hold();
  chain.start(answers.sink());
  for (std::uint64_t i = 0; i < 4; ++i) ASSERT_TRUE(chain.submit(step(i)).has_value());
  b.release();
  for (int i = 0; i < 4; ++i) EXPECT_EQ(answers.next_code(), Code::kUnavailable);
  ASSERT_TRUE(chain.submit(step(4)).has_value());
  EXPECT_EQ(answers.next_code(), Code::kOk);
  chain.stop();
}

TEST(ChainLink, AnswersAStepThatTheRestRefuses) {
  FakeLink a(layers("a"));
  FakeLink b(sampler("b"));
  b.refuse(true);
  Answers answers;
  ChainLink chain(a, b);
  chain.start(answers.sink());
  EXPECT_EQ(chain.health().error().code(), Code::kUnavailable);
  ASSERT_TRUE(chain.submit(step(0)).has_value());
  EXPECT_EQ(answers.next_code(), Code::kUnavailable);
  b.refuse(false);
  EXPECT_TRUE(chain.health().has_value());
  ASSERT_TRUE(chain.submit(step(1)).has_value());
  EXPECT_EQ(answers.next_code(), Code::kOk);
  chain.stop();
}

TEST(ChainLink, RefusesWhatTheFirstRefusesWithoutAnAnswer) {
  FakeLink a(layers("a"));
  FakeLink b(sampler("b"));
  Answers answers;
  ChainLink chain(a, b);
  chain.start(answers.sink());
  a.refuse(true);
  EXPECT_EQ(chain.submit(step(0)).error().code(), Code::kUnavailable);
  chain.stop();
  EXPECT_EQ(answers.queue.size(), 0u);
}

TEST(ChainLink, RefusesAFirstThatSamples) {
  FakeLink a(
      [](StageInput input) -> Result<StageOutput> { return StageOutput{std::move(input.batch), SampledTokens{}, {}}; });
  FakeLink b(sampler("b"));
  Answers answers;
  ChainLink chain(a, b);
  chain.start(answers.sink());
  ASSERT_TRUE(chain.submit(step(0)).has_value());
  EXPECT_EQ(answers.next_code(), Code::kFailedPrecondition);
  chain.stop();
}

TEST(ChainLink, StopAnswersWhatIsInFlightWithCancelled) {
  FakeLink a(layers("a"));
  FakeLink b(sampler("b"));
  Answers answers;
  ChainLink chain(a, b);
  chain.start(answers.sink());
  b.hold();
  for (std::uint64_t i = 0; i < 8; ++i) ASSERT_TRUE(chain.submit(step(i)).has_value());
  chain.stop();
  ASSERT_EQ(answers.queue.size(), 8u);
  for (int i = 0; i < 8; ++i) EXPECT_EQ(answers.next_code(), Code::kCancelled);
  EXPECT_EQ(chain.submit(step(9)).error().code(), Code::kUnavailable);
}

TEST(ChainLink, BothPartsLoadAnAdapterAndDropIt) {
  FakeLink first([](StageInput) -> Result<StageOutput> { return Error(Code::kInternal, "no step comes"); });
  FakeLink rest([](StageInput) -> Result<StageOutput> { return Error(Code::kInternal, "no step comes"); });
  ChainLink chain(first, rest);
  const AdapterSource poet{AdapterId(7), "poet", "/adapters/poet"};
  first.adapter_bytes = 10;
  EXPECT_EQ(chain.load_adapter(poet, 1s, {}).error().code(), Code::kNotFound);
  rest.adapter_bytes = 20;
  EXPECT_EQ(chain.load_adapter(poet, 1s, {}).value(), 20u);
  chain.drop_adapter(poet.id);
  EXPECT_EQ(first.n_dropped + rest.n_dropped, 2);
}

}  // namespace
}  // namespace commissure
