#include "sched/window_pool.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

constexpr int kLong = 1 << 20;

TEST(WindowPool, NeedsTheBlocksThatAWindowMaySpan) {
  EXPECT_EQ(WindowPool(1, 8).n_needed(kLong), 1);
  EXPECT_EQ(WindowPool(64, 8).n_needed(kLong), 2);
  EXPECT_EQ(WindowPool(65, 8).n_needed(kLong), 2);
  EXPECT_EQ(WindowPool(66, 8).n_needed(kLong), 3);
  EXPECT_EQ(WindowPool(512, 8).n_needed(kLong), 9);
  EXPECT_EQ(WindowPool(512, 8).n_needed(100), 2);
}

TEST(WindowPool, ASequenceHoldsNoMoreThanItsWindowHoweverLongItGets) {
  WindowPool pool(100, 3);
  WindowTable table;
  pool.begin(table, 0, {}, pool.n_needed(kLong));
  for (int row = 0; row < 1000; ++row) {
    ASSERT_TRUE(pool.grow(table, row + 1));
    const int first_seen = std::max(0, row - 99);
    ASSERT_LE(table.first * 64, first_seen) << "row " << row << " sees it";
    ASSERT_LE(table.n_held(), 3);
    pool.slide(table, row + 1);
  }
  EXPECT_EQ(table.first, (1000 - 99) / 64);
  pool.end(table);
  EXPECT_EQ(pool.blocks().n_free(), 3);
  EXPECT_EQ(pool.n_claimed(), 0);
}

TEST(WindowPool, KeepsWhatRowsWithoutAnswerSee) {
  WindowPool pool(64, 16);
  WindowTable table;
  pool.begin(table, 0, {}, pool.n_needed(kLong));
  ASSERT_TRUE(pool.grow(table, 512));  // chunks in flight
  pool.slide(table, 128);
  EXPECT_EQ(table.first, 1);  // row 128 sees 65 .. 128
  EXPECT_EQ(table.n_held(), 7);
  EXPECT_EQ(pool.n_claimed(), 7);
  pool.slide(table, 512);
  EXPECT_EQ(table.n_held(), 1);
  EXPECT_EQ(pool.n_claimed(), 2) << "what its window may span stays claimed";
}

TEST(WindowPool, RoomForRowsThatComeAtOnceIsClaimedUntilTheLastOfThem) {
  WindowPool pool(64, 16);
  EXPECT_EQ(pool.n_needed(kLong, 256), pool.n_needed(kLong) + 4);
  EXPECT_EQ(pool.n_needed(100, 256), 2);
  WindowTable table;
  pool.begin(table, 0, {}, pool.n_needed(kLong, 256), 256);
  ASSERT_TRUE(pool.grow(table, 320));
  pool.slide(table, 320);
  EXPECT_EQ(pool.n_claimed(), 6) << "another image may follow";
  pool.slide(table, 320, /*has_images=*/false);
  EXPECT_EQ(pool.n_claimed(), 2);
}

TEST(WindowPool, NobodyTakesWhatOthersClaim) {
  WindowPool pool(64, 5);
  WindowTable first, second;
  pool.begin(first, 0, {}, 2);
  pool.begin(second, 0, {}, 2);
  EXPECT_FALSE(pool.may_claim(2));
  EXPECT_TRUE(pool.may_claim(1));
  EXPECT_EQ(pool.limit(first), 3 * 64);
  EXPECT_FALSE(pool.grow(first, 3 * 64 + 1));
  EXPECT_EQ(first.n_entries(), 0);
  ASSERT_TRUE(pool.grow(first, 3 * 64));
  EXPECT_EQ(pool.limit(first), 3 * 64);
  ASSERT_TRUE(pool.grow(second, 2 * 64));
  EXPECT_FALSE(pool.grow(second, 2 * 64 + 1));
  pool.end(first);
  EXPECT_TRUE(pool.grow(second, 2 * 64 + 1));
}

TEST(WindowPool, IsNothingWithoutAWindow) {
  WindowPool pool(0, 16);
  WindowTable table;
  EXPECT_TRUE(pool.may_claim(pool.n_needed(kLong)));
  pool.begin(table, 3, {}, 0);
  EXPECT_TRUE(pool.grow(table, kLong));
  pool.slide(table, kLong);
  EXPECT_EQ(table.n_entries(), 0);
  pool.end(table);
}

}  // namespace
}  // namespace commissure
