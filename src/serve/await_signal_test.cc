#include "serve/await_signal.h"

#include <gtest/gtest.h>

#include <thread>

namespace commissure {
namespace {

/// Blocks SIGUSR1 in this thread for a while.
class BlockedSignal {
 public:
  BlockedSignal() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &signals_, &before_);
  }
  ~BlockedSignal() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  const sigset_t& set() const { return signals_; }

 private:
  sigset_t signals_, before_;
};

TEST(AwaitSignal, ReturnsTheSignal) {
  const BlockedSignal blocked;
  pthread_kill(pthread_self(), SIGUSR1);
  EXPECT_EQ(await_signal(blocked.set(), {}, std::chrono::seconds(1)), SIGUSR1);
  pthread_kill(pthread_self(), SIGUSR1);
  const auto is_well = []() -> Status { return {}; };
  EXPECT_EQ(await_signal(blocked.set(), is_well, std::chrono::seconds(1)), SIGUSR1);
}

TEST(AwaitSignal, EndsWithTheErrorOfADeviceThatIsLost) {
  const BlockedSignal blocked;
  int n_asked = 0;
  const auto health = [&]() -> Status {
    if (++n_asked < 3) return {};
    return Error(Code::kUnavailable, "the card is lost");
  };
  const auto received = await_signal(blocked.set(), health, std::chrono::milliseconds(1));
  ASSERT_FALSE(received.has_value());
  EXPECT_EQ(received.error().message(), "the card is lost");
  EXPECT_EQ(n_asked, 3);
}

TEST(AwaitSignal, AStageEndsOnSigtermAndSigint) {
  const sigset_t signals = end_signals();
  EXPECT_EQ(sigismember(&signals, SIGTERM), 1);
  EXPECT_EQ(sigismember(&signals, SIGINT), 1);
  EXPECT_EQ(sigismember(&signals, SIGHUP), 0);
}

}  // namespace
}  // namespace commissure
