#include "stage/row_log.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

constexpr int kWidth = 3;

SequenceRows rows(std::uint64_t id, int first, int n, std::vector<std::int32_t> blocks) {
  SequenceRows made;
  made.sequence = SequenceId(id);
  made.first_position = first;
  made.tokens.resize(static_cast<std::size_t>(n));
  for (const std::int32_t block : blocks) made.new_blocks.emplace_back(block);
  return made;
}

SequenceState state_of(const SequenceRows& slice) {
  SequenceState state;
  for (const BlockId block : slice.new_blocks) state.blocks.push_back(block.value);
  return state;
}

/// Numbers that tell sequence, position and column.
std::vector<bf16> values(const StepBatch& batch) {
  std::vector<bf16> made;
  for (const SequenceRows& slice : batch.slices) {
    for (int p = slice.first_position; p < slice.first_position + slice.n_rows(); ++p) {
      for (int column = 0; column < kWidth; ++column)
        made.push_back(static_cast<bf16>(slice.sequence.value * 10000 + static_cast<std::uint64_t>(p * 10 + column)));
    }
  }
  return made;
}

TEST(RowLog, GivesBackWhatWasHandedOnInAnyPieces) {
  RowLog log = RowLog::create(6, kWidth).value();
  EXPECT_EQ(log.n_bytes(), 6u * 64 * kWidth * 2);
  const SequenceRows one = rows(1, 0, 100, {4, 0});
  const SequenceRows two = rows(2, 60, 10, {3, 5});
  StepBatch written{.step = StepId(1), .slices = {one, two}, .released = {}};
  log.write(written, {state_of(one), state_of(two)}, values(written));

  const StepBatch asked{.step = StepId(2), .slices = {rows(2, 62, 5, {3, 5}), rows(1, 50, 40, {4, 0})}, .released = {}};
  EXPECT_EQ(log.read(asked).value(), values(asked));
}

TEST(RowLog, RefusesBlocksThatDoNotExist) {
  const RowLog log = RowLog::create(2, kWidth).value();
  const StepBatch asked{.step = StepId(2), .slices = {rows(2, 0, 70, {1, 2})}, .released = {}};
  const auto read = log.read(asked);
  ASSERT_FALSE(read.has_value());
  EXPECT_EQ(read.error().code(), Code::kDataLoss);
  EXPECT_NE(read.error().message().find("block 2 of 2"), std::string::npos) << read.error().message();
}

TEST(RowLog, IsOffWhereNobodyFollows) { EXPECT_FALSE(RowLog().is_on()); }

}  // namespace
}  // namespace commissure
