#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <functional>
#include <optional>

#include "support/eventually.h"
#include "support/failing_new.h"
#include "support/failing_threads.h"
#include "support/fake_stage.h"

// What happens where memory runs out, or the system grants no thread: a call fails, nobody waits for it, and the next
// one goes on.

namespace commissure {
namespace {

using namespace std::chrono_literals;
using testing::eventually;

/// Steps through a link until one is answered with tokens; every step that was taken has to be answered.
bool gets_through(GrpcLink& link, BoundedQueue<Result<StageOutput>>& answers, std::uint64_t& next_id) {
  return eventually([&] {
    if (!link.health() || !link.submit(step_of_one_row(next_id++))) return false;
    const auto answer = answers.pop_for(20s);
    EXPECT_TRUE(answer.has_value()) << "a step was never answered";
    return answer.has_value() && answer->has_value();
  });
}

TEST(Scarce, WhereverMemoryRunsOutAStreamBeginsAndStepsAreAnswered) {
  int n_spent = 0;
  for (int n = 0; n < 8; ++n) {
    for (const bool at_caller : {false, true}) {
      const SocketDir dir;
      FakeProcess c(fake_info(2, 3), dir.endpoint("c"));
      FakeProcess b(fake_info(1, 3), dir.endpoint("b"), dir.endpoint("c"));
      ScarceMemory callers;
      BoundedQueue<Result<StageOutput>> answers(100);
      GrpcLink link(fake_link_options(dir.endpoint("b"), [&] {
        callers.spend();
        return fake_info(0, 3);
      }));
      (at_caller ? callers : b.memory).arm(n);
      link.start([&](Result<StageOutput> output) { answers.push(std::move(output)); });
      std::uint64_t next_id = 0;
      EXPECT_TRUE(gets_through(link, answers, next_id)) << n << (at_caller ? " at the caller" : " at the stage");
      n_spent += (at_caller ? callers : b.memory).is_spent() ? 1 : 0;
      link.stop();
    }
  }
  EXPECT_GE(n_spent, 8);
}

TEST(Scarce, EveryStepOfAStreamThatEndsWithoutMemoryIsAnswered) {
  const SocketDir dir;
  FakeProcess b(fake_info(1, 2), dir.endpoint("b"));
  ScarceMemory memory;
  BoundedQueue<Result<StageOutput>> answers(100);
  GrpcLinkOptions options = fake_link_options(dir.endpoint("b"), [] { return fake_info(0, 2); });
  options.step_deadline_floor = options.step_deadline = 50ms;
  options.n_done = [&] {
    memory.spend();
    return std::uint64_t{0};
  };
  GrpcLink link(options);
  link.start([&](Result<StageOutput> output) { answers.push(std::move(output)); });
  ASSERT_TRUE(eventually([&] { return link.health().has_value(); }));
  b.local.hold(true);
  memory.arm(0);
  for (std::uint64_t id = 0; id < 3; ++id) ASSERT_TRUE(link.submit(step_of_one_row(id)).has_value());
  for (int i = 0; i < 3; ++i) {
    const auto answer = answers.pop_for(20s);
    ASSERT_TRUE(answer.has_value());
    ASSERT_FALSE(answer->has_value());
    EXPECT_TRUE(is_about_the_stream(answer->error().code())) << answer->error().message();
  }
  EXPECT_TRUE(memory.is_spent());
  b.local.hold(false);
  std::uint64_t next_id = 3;
  EXPECT_TRUE(gets_through(link, answers, next_id));
  link.stop();
}

TEST(Scarce, AWakeThatCannotHearOfTheLaterStagesFails) {
  const SocketDir dir;
  StageClient nobody(dir.endpoint("nobody"));
  const LocalStage self = {[here = std::this_thread::get_id()] {
                             if (std::this_thread::get_id() != here) throw std::bad_alloc();
                             return fake_info(0, 2);
                           },
                           [] {}};
  const Status woken = wake_chain(self, &nobody, 100ms, [](const auto&) {}, {});
  ASSERT_FALSE(woken.has_value());
  EXPECT_EQ(woken.error().code(), Code::kResourceExhausted) << woken.error().message();
}

#ifdef COMMISSURE_FAILING_NEW

TEST(Scarce, AQuestionForLaterIsAnsweredAtOnceWhereThereIsNoMemoryForIt) {
  const SocketDir dir;
  StageClient client(dir.endpoint("nobody"));
  std::optional<Code> told;
  const std::function<void(Result<std::vector<StageInfo>>)> done =
      [&told, large = std::array<std::byte, 1000>()](const Result<std::vector<StageInfo>>& stages) {
        told = stages || large.empty() ? Code::kOk : stages.error().code();
      };
  for (const std::size_t n_bytes : {1u, 500u}) {
    told.reset();
    auto question = done;
    {
      const FailingNew failing(n_bytes, FailingNew::Where::kHere);
      client.describe_later(10s, std::move(question));
      if (failing.n_failed() == 0) std::abort();  // an expectation takes memory
    }
    EXPECT_EQ(told, Code::kUnavailable);
  }
}

TEST(Scarce, AQuestionWithoutAThreadFailsAloneAndTheNextIsAnswered) {
  const SocketDir dir;
  FakeProcess b(fake_info(1, 2), dir.endpoint("b"));
  StageClient client(dir.endpoint("b"));
  ASSERT_TRUE(client.describe(10s).has_value());  // gRPC has its threads now
  {
    const FailingThreads failing;
    const auto refused = client.describe(10s);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code(), Code::kResourceExhausted) << refused.error().message();
    EXPECT_GT(failing.n_failed(), 0);
  }
  EXPECT_TRUE(client.describe(10s).has_value());
}

#endif

}  // namespace
}  // namespace commissure
