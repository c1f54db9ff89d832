#include "step/held_rows.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

TEST(RowSpan, LiesInTheEntriesThatItTouches) {
  const RowSpan rows{60, 130};
  EXPECT_EQ(rows.n_rows(), 70);
  EXPECT_EQ(rows.first_entry(), 0);
  EXPECT_EQ(rows.end_entry(), 3);
  EXPECT_EQ(rows.in_entry(0), (RowSpan{60, 64}));
  EXPECT_EQ(rows.in_entry(1), (RowSpan{0, 64}));
  EXPECT_EQ(rows.in_entry(2), (RowSpan{0, 2}));
  EXPECT_TRUE(rows.in_entry(3).empty());
  EXPECT_EQ((RowSpan{64, 128}).first_entry(), 1);
  EXPECT_EQ((RowSpan{64, 128}).end_entry(), 2) << "a block's edge belongs to the next one";
}

TEST(RowSpan, OfNoRowsTouchesNothing) {
  for (const int at : {0, 1, 63, 64, 65}) {
    const RowSpan rows{at, at};
    EXPECT_TRUE(rows.empty());
    EXPECT_EQ(rows.n_rows(), 0);
    EXPECT_EQ(rows.first_entry(), rows.end_entry());
  }
}

TEST(RowSpan, ItsPartsByEntryMakeTheWhole) {
  for (int first = 0; first < 200; first += 7) {
    for (int end = first; end < 300; end += 13) {
      const RowSpan rows{first, end};
      int n = 0;
      for (int entry = rows.first_entry(); entry < rows.end_entry(); ++entry) {
        EXPECT_FALSE(rows.in_entry(entry).empty());
        n += rows.in_entry(entry).n_rows();
      }
      EXPECT_EQ(n, rows.n_rows());
    }
  }
}

TEST(HandedRows, FallsBackToWhatWasAnswered) {
  HandedRows rows;
  rows.find(64);
  EXPECT_EQ(rows.next(10), (RowSpan{64, 74}));
  rows.send(rows.next(10));
  rows.send(rows.next(5));
  rows.answer({64, 74});
  EXPECT_EQ(rows, (HandedRows{79, 74}));
  rows.drop_unanswered();
  EXPECT_EQ(rows, (HandedRows{74, 74}));
  rows.forget();
  EXPECT_EQ(rows, HandedRows());
}

TEST(HeldRows, AreTheFirstOfEachBlock) {
  HeldRows rows(2);
  EXPECT_TRUE(rows.knows(1));
  EXPECT_FALSE(rows.knows(2));
  EXPECT_FALSE(rows.knows(-1));
  rows.write(1, {0, 40});
  EXPECT_TRUE(rows.has(1, {0, 40}));
  EXPECT_FALSE(rows.has(1, {0, 41}));
  EXPECT_FALSE(rows.has(0, {0, 1}));
  rows.write(1, {10, 12});
  EXPECT_EQ(rows.in_block(1), 12) << "a later owner begins within the block";
  rows.rewrite(1, {0, 5});
  EXPECT_EQ(rows.in_block(1), 12);
  rows.rewrite(1, {5, 64});
  EXPECT_EQ(rows.in_block(1), 64);
  rows.forget();
  EXPECT_FALSE(rows.has(1, {0, 1}));
}

TEST(StageMemory, OfTwoTheLesserIsLeft) {
  EXPECT_EQ(std::min(StageMemory::kRows, StageMemory::kSequences), StageMemory::kRows);
  EXPECT_EQ(std::min(StageMemory::kRows, StageMemory::kNothing), StageMemory::kNothing);
}

}  // namespace
}  // namespace commissure
