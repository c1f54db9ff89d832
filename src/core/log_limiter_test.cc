#include "core/log_limiter.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

using namespace std::chrono_literals;

TEST(LogLimiter, LetsAFewThroughAndCountsTheRest) {
  LogLimiter limiter;
  LogLimiter::Clock::time_point now{1000s};
  int n_admitted = 0;
  for (int i = 0; i < 1000; ++i) n_admitted += limiter.admit(now).has_value() ? 1 : 0;
  EXPECT_EQ(n_admitted, LogLimiter::kBurst);
  now += 1s;
  EXPECT_EQ(limiter.admit(now), std::optional<std::uint64_t>(1000 - LogLimiter::kBurst)) << "and says so";
  EXPECT_EQ(limiter.admit(now), std::optional<std::uint64_t>(0));
}

}  // namespace
}  // namespace commissure
