#include "terminal/progress.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

TEST(TimeLeft, IsToldOnceTheRateMeansSomething) {
  EXPECT_EQ(time_left(50, 100, 10), "10.0 s");
  EXPECT_EQ(time_left(25, 100, 100), "5 min 00 s");
  EXPECT_EQ(time_left(50, 100, 1), "") << "after a second";
  EXPECT_EQ(time_left(4, 1000, 10), "") << "of a two hundredth";
  EXPECT_EQ(time_left(0, 100, 10), "");
  EXPECT_EQ(time_left(100, 100, 10), "");
  EXPECT_EQ(time_left(10, 0, 10), "") << "of an unknown whole";
}

TEST(TimeLeft, IsNeverMoreThanADay) {
  EXPECT_EQ(time_left(1, 100, 1000), "") << "99,000 seconds";
  EXPECT_EQ(time_left(1, 100, 800), "22 h 00 min");
}

TEST(HumanSeconds, HasMinutesAndHours) {
  EXPECT_EQ(human_seconds(0.05), "0.05 s");
  EXPECT_EQ(human_seconds(65), "1 min 05 s");
  EXPECT_EQ(human_seconds(7620), "2 h 07 min");
}

}  // namespace
}  // namespace commissure
