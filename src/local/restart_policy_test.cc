#include "local/restart_policy.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

using Clock = RestartPolicy::Clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(RestartPolicy, WaitsTwiceAsLongAfterEachShortLife) {
  RestartPolicy policy;
  Clock::time_point now{};
  for (const int pause : {100, 200, 400, 800, 1600}) {
    policy.on_start(now);
    now += seconds(1);
    const auto again = policy.on_death(now);
    ASSERT_TRUE(again);
    EXPECT_EQ(*again - now, milliseconds(pause));
  }
}

TEST(RestartPolicy, GivesUpAfterSixShortLivesInARow) {
  RestartPolicy policy;
  Clock::time_point now{};
  for (int life = 1; life < RestartPolicy::kMaxShortLives; ++life) {
    policy.on_start(now);
    now += seconds(59);
    ASSERT_TRUE(policy.on_death(now)) << life;
  }
  policy.on_start(now);
  EXPECT_FALSE(policy.on_death(now + seconds(59)));
}

TEST(RestartPolicy, ForgetsShortLivesAfterALongOne) {
  RestartPolicy policy;
  Clock::time_point now{};
  for (int i = 0; i < 20; ++i) {
    for (const auto life : {seconds(1), seconds(1), seconds(60)}) {
      policy.on_start(now);
      now += life;
      ASSERT_TRUE(policy.on_death(now)) << i;
    }
    EXPECT_EQ(policy.short_lives(), 1);
  }
}

}  // namespace
}  // namespace commissure
