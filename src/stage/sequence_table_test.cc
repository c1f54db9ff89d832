#include "stage/sequence_table.h"

#include <gtest/gtest.h>

#include "support/stage_fixture.h"

namespace commissure::testing {
namespace {

constexpr int kBlocks = 8, kVocab = 50;

StepBatch batch_of(SequenceRows rows) { return {.step = StepId(3), .slices = {std::move(rows)}, .released = {}}; }

Code refusal(const SequenceTable& table, SequenceRows rows) {
  const auto states = table.prepare(batch_of(std::move(rows)));
  return states ? Code::kOk : states.error().code();
}

/// A table that knows sequence 1 with 70 positions in two blocks.
SequenceTable known_table() {
  SequenceTable table({.n_blocks = kBlocks}, kVocab);
  const StepBatch batch = batch_of(rows_of(1, 0, std::vector<int>(70, 4), 0));
  auto states = table.prepare(batch);
  CHECK(states.has_value());
  table.commit(batch, std::move(*states));
  return table;
}

TEST(SequenceTable, ContinuesASequenceThatItKnows) {
  const SequenceTable table = known_table();
  const auto states = table.prepare(batch_of(rows_of(1, 70, {1}, 0)));
  ASSERT_TRUE(states.has_value());
  EXPECT_EQ((*states)[0].blocks, (std::vector<std::int32_t>{0, 1}));
  EXPECT_EQ((*states)[0].n_positions, 71);
}

TEST(SequenceTable, RefusesSequencesItDoesNotKnow) {
  EXPECT_EQ(refusal(known_table(), rows_of(2, 70, {1}, 0)), Code::kDataLoss);
}

TEST(SequenceTable, RefusesGapsInPositionsAndTables) {
  const SequenceTable table = known_table();
  EXPECT_EQ(refusal(table, rows_of(1, 71, {1}, 0)), Code::kDataLoss);
  SequenceRows rows = rows_of(1, 70, {1}, 0);
  rows.table_start = 3;
  rows.new_blocks = {BlockId(3)};
  EXPECT_EQ(refusal(table, rows), Code::kDataLoss);
  EXPECT_EQ(refusal(table, rows_of(1, 70, std::vector<int>(58, 1), 0)), Code::kOk);
  rows = rows_of(1, 70, std::vector<int>(59, 1), 0);
  rows.new_blocks.clear();
  EXPECT_EQ(refusal(table, rows), Code::kDataLoss) << "the known blocks end at 128";
}

TEST(SequenceTable, RefusesBlocksThatDoNotExist) {
  for (const int block : {-1, kBlocks, 1 << 30}) {
    SequenceRows rows = rows_of(2, 0, {1}, 0);
    rows.new_blocks = {BlockId(block)};
    EXPECT_EQ(refusal(known_table(), rows), Code::kDataLoss);
  }
}

TEST(SequenceTable, RefusesTablesLongerThanThePool) {
  const auto of_entries = [](int n) {
    SequenceRows rows = rows_of(2, 0, {1}, 0);
    rows.new_blocks.assign(n, BlockId(0));
    return rows;
  };
  EXPECT_EQ(refusal(known_table(), of_entries(kBlocks)), Code::kOk);
  EXPECT_EQ(refusal(known_table(), of_entries(kBlocks + 1)), Code::kDataLoss);
}

TEST(SequenceTable, RefusesTokensOutsideTheVocabulary) {
  for (const int token : {-1, kVocab}) {
    EXPECT_EQ(refusal(known_table(), rows_of(2, 0, {token}, 0)), Code::kInvalidArgument);
    SequenceRows rows = rows_of(2, 0, {1}, 0);
    rows.targets = {TokenId(token)};
    EXPECT_EQ(refusal(known_table(), rows), Code::kInvalidArgument);
  }
}

TEST(SequenceTable, RefusesTracesOfSlicesThatThereAreNot) {
  const TraceParent parent{std::string(32, 'a'), std::string(16, 'b'), true};
  StepBatch batch;
  batch.slices = {rows_of(1, 0, {1}, 0), rows_of(2, 0, {1}, 1)};
  batch.traces = {{0, 0, parent}, {1, 0, parent}};
  EXPECT_TRUE(validate(batch).has_value());
  for (const std::vector<std::int32_t>& slices : std::vector<std::vector<std::int32_t>>{{-1}, {2}, {0, 0}, {1, 0}}) {
    batch.traces.clear();
    for (const std::int32_t slice : slices) batch.traces.push_back({slice, 0, parent});
    EXPECT_EQ(validate(batch).error().code(), Code::kInvalidArgument);
  }
}

TEST(SequenceTable, AsksForParametersBeforeItSamples) {
  SequenceRows rows = rows_of(2, 0, {1}, 0);
  rows.sample = true;
  EXPECT_EQ(refusal(known_table(), rows), Code::kInvalidArgument);
  rows.params = SamplingParams{};
  EXPECT_EQ(refusal(known_table(), rows), Code::kOk);
}

TEST(SequenceTable, GoesBackToAnEarlierPosition) {
  EXPECT_EQ(refusal(known_table(), rows_of(1, 65, {1}, 0)), Code::kOk);
}

SequenceRows rows_behind(int first_position, std::vector<int> blocks) {
  SequenceRows rows = rows_of(2, first_position, {1}, 0);
  rows.table_start = 0;
  rows.new_blocks.clear();
  for (const int block : blocks) rows.new_blocks.emplace_back(block);
  return rows;
}

TEST(SequenceTable, RecreatesASequenceOverCachedBlocks) {
  EXPECT_EQ(refusal(known_table(), rows_behind(64, {0, 5})), Code::kOk);
}

TEST(SequenceTable, RefusesASequenceBehindRowsThatItDoesNotHave) {
  SequenceTable table = known_table();
  EXPECT_EQ(refusal(table, rows_behind(64, {5, 6})), Code::kDataLoss);
  EXPECT_EQ(refusal(table, rows_behind(128, {0, 1, 5})), Code::kDataLoss) << "block 1 has 6 rows";
  StepBatch batch = batch_of(rows_of(1, 70, std::vector<int>(58, 1), 0));
  table.commit(batch, *table.prepare(batch));
  EXPECT_EQ(refusal(table, rows_behind(128, {0, 1, 5})), Code::kOk) << "whoever filled it";
  batch = batch_of(rows_behind(0, {1}));
  table.commit(batch, *table.prepare(batch));
  EXPECT_EQ(refusal(table, rows_behind(128, {0, 1, 5})), Code::kDataLoss) << "block 1 was begun again";
  EXPECT_EQ(refusal(table, rows_behind(64, {0, 5})), Code::kOk);
  table.forget_all_but(StageMemory::kRows);
  EXPECT_EQ(refusal(table, rows_behind(64, {0, 5})), Code::kOk) << "the rows are still there";
  table.forget_all_but(StageMemory::kNothing);
  EXPECT_EQ(refusal(table, rows_behind(64, {0, 5})), Code::kDataLoss) << "all is forgotten";
}

TEST(SequenceTable, RowsComputedAgainTakeNoneAway) {
  SequenceTable table({.n_blocks = kBlocks}, kVocab);
  const auto again = [&](int n_rows) {
    StepBatch batch = batch_of(
        rows_of(static_cast<std::uint64_t>(n_rows), 0, std::vector<int>(static_cast<std::size_t>(n_rows), 4), 0));
    batch.rebuild = {1, 1};
    table.commit(batch, *table.prepare(batch));
  };
  again(100);
  again(28);  // another sequence with the same beginning, whose next rows come in a later step
  EXPECT_EQ(refusal(table, rows_behind(100, {0, 1})), Code::kOk);
  StepBatch asked = batch_of(rows_of(1, 0, std::vector<int>(100, 4), 0));
  EXPECT_TRUE(table.check_written(asked).has_value());
  asked = batch_of(rows_of(1, 0, std::vector<int>(101, 4), 0));
  EXPECT_FALSE(table.check_written(asked).has_value()) << "the last one was never here";
}

SequenceRows windowed(SequenceRows rows, int start, std::vector<int> blocks) {
  rows.window_start = start;
  for (const int block : blocks) rows.new_window_blocks.emplace_back(block);
  return rows;
}

TEST(SequenceTable, KeepsASecondTableForWindows) {
  SequenceTable table({.n_blocks = kBlocks, .n_window_blocks = 3, .window = 65}, kVocab);
  EXPECT_EQ(refusal(table, rows_of(1, 0, {1}, 0)), Code::kDataLoss) << "no window block";
  EXPECT_EQ(refusal(table, windowed(rows_of(1, 0, {1}, 0), 0, {3})), Code::kDataLoss) << "there are three";
  const StepBatch batch = batch_of(windowed(rows_of(1, 0, std::vector<int>(190, 1), 0), 0, {0, 1, 2}));
  table.commit(batch, *table.prepare(batch));
  const auto states = table.prepare(batch_of(windowed(rows_of(1, 190, {1, 2, 3}, 0), 3, {0})));
  ASSERT_TRUE(states.has_value());
  EXPECT_EQ((*states)[0].window_blocks, (std::vector<std::int32_t>{0, 1, 2, 0})) << "the first one again";
  EXPECT_EQ(refusal(known_table(), windowed(rows_of(1, 70, {1}, 0), 2, {0})), Code::kDataLoss) << "has no windows";
}

TEST(SequenceTable, ASequenceBehindCachedRowsNeedsOnlyTheirLastWindow) {
  SequenceTable table({.n_blocks = kBlocks, .n_window_blocks = 3, .window = 65}, kVocab);
  StepBatch batch = batch_of(windowed(rows_of(1, 0, std::vector<int>(192, 1), 0), 0, {0, 1, 2}));
  table.commit(batch, *table.prepare(batch));
  const SequenceRows behind = rows_behind(192, {0, 1, 2, 5});
  EXPECT_EQ(refusal(table, windowed(behind, 2, {2, 1})), Code::kOk) << "row 192 sees 128 and on";
  EXPECT_EQ(refusal(table, windowed(behind, 3, {1})), Code::kDataLoss) << "its window is absent";
  EXPECT_EQ(refusal(table, windowed(rows_behind(190, {0, 1, 2}), 2, {2})), Code::kDataLoss) << "row 190 sees 126";
  batch = batch_of(windowed(behind, 2, {2, 1}));
  table.commit(batch, *table.prepare(batch));
  EXPECT_EQ(refusal(table, rows_of(2, 193, {1}, 0)), Code::kOk);
  SequenceRows again = rows_of(2, 100, {1}, 0);
  again.table_start = 4;
  EXPECT_EQ(refusal(table, again), Code::kDataLoss) << "what row 100 sees was never sent";
}

TEST(SequenceTable, KeepsTheTokensThatParametersLookBackOn) {
  SequenceTable table({.n_blocks = kBlocks}, kVocab);
  SequenceRows rows = rows_of(1, 0, {4, 5}, 0);
  rows.params = SamplingParams{.banned = {}, .repetition_penalty = 1.5f};
  const auto run = [&](const SequenceRows& each) {
    auto states = table.prepare(batch_of(each));
    CHECK(states.has_value());
    const std::vector<TokenId> history = *(*states)[0].history;
    table.commit(batch_of(each), std::move(*states));
    return history;
  };
  EXPECT_EQ(run(rows), (std::vector{TokenId(4), TokenId(5)}));
  EXPECT_EQ(run(rows_of(1, 2, {6}, 0)).size(), 3u);
  // An earlier position again takes the place of what was there.
  EXPECT_EQ(run(rows_of(1, 1, {7}, 0)), (std::vector{TokenId(4), TokenId(7)}));

  // A new life that begins behind cached rows brings their tokens, or is refused.
  rows.first_position = 2;
  EXPECT_EQ(refusal(table, rows), Code::kDataLoss);
  rows.history = {TokenId(8), TokenId(9)};
  EXPECT_EQ(run(rows), (std::vector{TokenId(8), TokenId(9), TokenId(4), TokenId(5)}));
  rows.history = {TokenId(8), TokenId(kVocab)};
  EXPECT_EQ(refusal(table, rows), Code::kInvalidArgument);
  rows.history = {TokenId(8)};
  EXPECT_EQ(refusal(table, rows), Code::kInvalidArgument);
  EXPECT_EQ(
      SequenceTable({.n_blocks = kBlocks}, kVocab, false).prepare(batch_of(rows_of(1, 0, {1}, 0)))->front().history,
      nullptr);
}

TEST(SequenceTable, ForgetsReleasedSequences) {
  SequenceTable table = known_table();
  const StepBatch batch{.step = StepId(4), .slices = {}, .released = {SequenceId(1)}};
  table.commit(batch, *table.prepare(batch));
  EXPECT_EQ(table.size(), 0u);
  EXPECT_EQ(refusal(table, rows_of(1, 70, {1}, 0)), Code::kDataLoss);
}

}  // namespace
}  // namespace commissure::testing
