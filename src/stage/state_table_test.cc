#include "stage/state_table.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

SequenceRows rows(std::uint64_t id, int first, int n) {
  SequenceRows made;
  made.sequence = SequenceId(id);
  made.first_position = first;
  made.tokens.resize(static_cast<std::size_t>(n));
  return made;
}

StepBatch batch(std::vector<SequenceRows> slices, std::vector<std::uint64_t> released = {}) {
  StepBatch made{.step = StepId(7), .slices = std::move(slices), .released = {}};
  for (const std::uint64_t id : released) made.released.emplace_back(id);
  return made;
}

/// Runs a step of one slice that succeeds; the places it went from and to.
StateTable::Move run(StateTable& table, SequenceRows slice, std::vector<std::uint64_t> released = {}) {
  const StepBatch step = batch({std::move(slice)}, std::move(released));
  const auto moves = table.begin(step);
  EXPECT_TRUE(moves.has_value()) << (moves ? "" : moves.error().message());
  if (!moves) return {};
  table.commit(step);
  return moves->front();
}

Code refused(StateTable& table, SequenceRows slice) {
  const auto moves = table.begin(batch({std::move(slice)}));
  return moves ? Code::kOk : moves.error().code();
}

TEST(StateTable, AStepReadsOnePlaceAndWritesTheOther) {
  StateTable table(2);
  const auto first = run(table, rows(1, 0, 10)), second = run(table, rows(1, 10, 5)),
             third = run(table, rows(1, 15, 1));
  EXPECT_EQ(first.from, -1);
  EXPECT_EQ(second.from, first.to);
  EXPECT_EQ(third.from, second.to);
  EXPECT_EQ(third.to, first.to);
  EXPECT_NE(second.to, first.to);
  EXPECT_NE(run(table, rows(2, 0, 3)).to / kStatePlaces, first.to / kStatePlaces) << "another sequence's places";
}

TEST(StateTable, ASliceThatComesAgainBeginsWhereItBegan) {
  StateTable table(1);
  run(table, rows(1, 0, 10));
  const auto once = run(table, rows(1, 10, 5)), again = run(table, rows(1, 10, 5));
  EXPECT_EQ(again.from, once.from);
  EXPECT_EQ(again.to, once.to);
  const auto shorter = run(table, rows(1, 10, 2));
  EXPECT_EQ(shorter.from, once.from);
  EXPECT_EQ(refused(table, rows(1, 15, 1)), Code::kDataLoss) << "the state behind 15 rows is gone";
  EXPECT_EQ(run(table, rows(1, 12, 1)).from, once.to);
}

TEST(StateTable, NoRowIsAppliedTwice) {
  StateTable table(1);
  run(table, rows(1, 0, 10));
  run(table, rows(1, 10, 5));
  run(table, rows(1, 15, 5));
  for (const int first : {1, 9, 10, 14, 19, 21}) EXPECT_EQ(refused(table, rows(1, first, 1)), Code::kDataLoss) << first;
  EXPECT_EQ(refused(table, rows(2, 15, 1)), Code::kDataLoss) << "never seen";
  run(table, rows(1, 20, 1));
}

TEST(StateTable, AStepThatFailsLeavesTheStateItBeganWith) {
  StateTable table(1);
  run(table, rows(1, 0, 10));
  const auto second = run(table, rows(1, 10, 5));
  ASSERT_TRUE(table.begin(batch({rows(1, 15, 1)})).has_value());  // never committed
  EXPECT_EQ(refused(table, rows(1, 10, 5)), Code::kDataLoss) << "its place was written to";
  EXPECT_EQ(run(table, rows(1, 15, 1)).from, second.to);
}

TEST(StateTable, AStepThatIsRefusedChangesNothing) {
  StateTable table(2);
  run(table, rows(1, 0, 10));
  run(table, rows(1, 10, 5));
  EXPECT_FALSE(table.begin(batch({rows(1, 15, 1), rows(2, 4, 1)}, {1})).has_value());
  run(table, rows(1, 10, 5));
}

TEST(StateTable, AtPositionZeroASequenceBeginsAnew) {
  StateTable table(1);
  run(table, rows(1, 0, 10));
  run(table, rows(1, 10, 5));
  EXPECT_EQ(run(table, rows(1, 0, 7)).from, -1);
  EXPECT_EQ(refused(table, rows(1, 15, 1)), Code::kDataLoss) << "a state of its life before";
  EXPECT_EQ(refused(table, rows(1, 10, 1)), Code::kDataLoss);
  EXPECT_EQ(run(table, rows(1, 0, 3), {1}).from, -1) << "released and begun in one step";
}

TEST(StateTable, RoomComesBackWithAReleaseOrFromThoseThatNobodyNamesAnyMore) {
  StateTable table(2);
  run(table, rows(1, 0, 1));
  run(table, rows(2, 0, 1));
  EXPECT_EQ(refused(table, rows(3, 0, 1)), Code::kResourceExhausted);
  run(table, rows(3, 0, 1), {1});
  EXPECT_EQ(table.size(), 2u);

  table.forget_all_but(StageMemory::kRows);
  run(table, rows(3, 1, 1));  // goes on
  run(table, rows(4, 0, 1));  // 2 has ended meanwhile
  EXPECT_EQ(refused(table, rows(2, 1, 1)), Code::kDataLoss);
  run(table, rows(3, 2, 1));
}

TEST(StateTable, ANewcomerTakesNoRoomOfTheSameStep) {
  StateTable table(2);
  run(table, rows(1, 0, 1));
  run(table, rows(2, 0, 1));
  table.forget_all_but(StageMemory::kRows);
  const auto moves = table.begin(batch({rows(3, 0, 1), rows(1, 1, 1)}));
  ASSERT_TRUE(moves.has_value()) << moves.error().message();
  EXPECT_NE((*moves)[0].to / kStatePlaces, (*moves)[1].to / kStatePlaces) << "2 had to go, 1 goes on";
  table.commit(batch({rows(3, 0, 1), rows(1, 1, 1)}));
  run(table, rows(1, 2, 1));
}

TEST(StateTable, ForgetsWhatItIsTold) {
  StateTable table(2);
  run(table, rows(1, 0, 1));
  table.forget_all_but(StageMemory::kSequences);
  run(table, rows(1, 1, 1));
  table.forget_all_but(StageMemory::kRows);
  run(table, rows(1, 2, 1));
  table.forget_all_but(StageMemory::kNothing);
  EXPECT_EQ(table.size(), 0u);
  EXPECT_EQ(refused(table, rows(1, 3, 1)), Code::kDataLoss);
}

TEST(StateTable, WithoutRecurrentLayersNothingIsKept) {
  StateTable table(0);
  EXPECT_EQ(run(table, rows(1, 300, 4)).to, -1);
  EXPECT_EQ(table.size(), 0u);
}

}  // namespace
}  // namespace commissure
