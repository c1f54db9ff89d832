#include "wire/reconnect_pause.h"

#include <gtest/gtest.h>

#include <set>

namespace commissure {
namespace {

using std::chrono::milliseconds;

TEST(ReconnectPause, DoublesUpToTheLongestAndBeginsAnewAfterSuccess) {
  ReconnectPause pause(milliseconds(50), milliseconds(2000), 7);
  for (const int ceiling : {100, 200, 400, 800, 1600, 2000, 2000}) {
    const milliseconds waits = pause.next(false);
    EXPECT_GE(waits, milliseconds(ceiling / 2));
    EXPECT_LT(waits, milliseconds(ceiling));
  }
  EXPECT_LT(pause.next(true), milliseconds(50));
  EXPECT_LT(pause.next(false), milliseconds(100));
}

TEST(ReconnectPause, JitterFillsItsHalfAndPartsLinksThatBeganTogether) {
  ReconnectPause one(milliseconds(2000), milliseconds(2000), 1);
  ReconnectPause other(milliseconds(2000), milliseconds(2000), 2);
  std::set<milliseconds> waits;
  int n_equal = 0;
  for (int i = 0; i < 200; ++i) {
    const milliseconds mine = one.next(false);
    waits.insert(mine);
    n_equal += mine == other.next(false);
  }
  EXPECT_GT(waits.size(), 50u);
  EXPECT_LT(*waits.begin(), milliseconds(1100));
  EXPECT_GT(*waits.rbegin(), milliseconds(1900));
  EXPECT_LT(n_equal, 20) << "two links knock in step";
}

}  // namespace
}  // namespace commissure
