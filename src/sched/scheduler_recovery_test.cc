#include <gtest/gtest.h>

#include <vector>

#include "support/scheduler_test_support.h"

namespace commissure {
namespace {

constexpr StageSpan kNothing{};
constexpr StageSpan kSecond{1, 1};

void commit(Scheduler& scheduler, const StepBatch& batch) { ASSERT_TRUE(scheduler.commit(answer(batch)).has_value()); }

void add(Scheduler& scheduler, SequenceSpec made) { ASSERT_TRUE(scheduler.add(std::move(made)).has_value()); }

TEST(Recovery, WhatStagesStillHaveIsNotComputedAgain) {
  Scheduler scheduler(options(128, 16));
  add(scheduler, sequence(1, 200));
  add(scheduler, sequence(2, 20));
  commit(scheduler, next(scheduler));  // 1@0+128
  const StepBatch lost = next(scheduler);
  ASSERT_EQ(describe(lost), "1@128+72* 2@0+20*");
  scheduler.suspend();
  EXPECT_EQ(scheduler.n_in_flight(), 0);
  scheduler.resume(kNothing);

  const StepBatch again = next(scheduler);
  EXPECT_EQ(describe(again), "1@128+72* 2@0+20*");
  for (const SequenceRows& slice : again.slices) {
    EXPECT_EQ(slice.table_start, 0) << "the stages forgot the sequence, though not its rows";
    EXPECT_TRUE(slice.params.has_value());
  }
  EXPECT_EQ(again.slices[0].new_blocks.size(), 4u);
  EXPECT_FALSE(scheduler.commit(answer(lost)).has_value()) << "an answer of before";
  commit(scheduler, again);
  EXPECT_EQ(describe(next(scheduler)), "1@200+1* 2@20+1*");
}

SchedulerOptions with_states(int max_rows, std::int32_t n_blocks) {
  SchedulerOptions made = options(max_rows, n_blocks);
  made.keeps_states = true;
  return made;
}

TEST(Recovery, WithStatesOneSliceInFlightComesAgain) {
  Scheduler scheduler(with_states(128, 16));
  add(scheduler, sequence(1, 200));
  commit(scheduler, next(scheduler));
  ASSERT_EQ(describe(next(scheduler)), "1@128+72*");
  scheduler.suspend();
  scheduler.resume(kNothing);
  const StepBatch again = next(scheduler);
  EXPECT_EQ(describe(again), "1@128+72*") << "each stage has the state in front of it, whether it applied it or not";
  commit(scheduler, again);
  ASSERT_EQ(describe(next(scheduler)), "1@200+1*");
  scheduler.suspend();
  scheduler.resume(kSecond);
  EXPECT_EQ(describe(next(scheduler)), "1@0+128") << "what a stage lost begins with the first row";
}

TEST(Recovery, WithStatesASequenceWithTwoSlicesInFlightIsComputedAgain) {
  for (const bool keeps_states : {false, true}) {
    Scheduler scheduler(keeps_states ? with_states(64, 16) : options(64, 16));
    add(scheduler, sequence(1, 200));
    commit(scheduler, next(scheduler));
    ASSERT_EQ(describe(next(scheduler)), "1@64+64");
    ASSERT_EQ(describe(next(scheduler)), "1@128+64");
    scheduler.suspend();
    scheduler.resume(kNothing);
    EXPECT_EQ(scheduler.n_running(), keeps_states ? 0 : 1);
    const StepBatch again = next(scheduler);
    EXPECT_EQ(describe(again), keeps_states ? "1@0+64" : "1@64+64");
    EXPECT_EQ(again.released.size(), keeps_states ? 1u : 0u);
    commit(scheduler, again);
    // What was lost before is no longer counted.
    next(scheduler);
    scheduler.suspend();
    scheduler.resume(kNothing);
    EXPECT_EQ(describe(next(scheduler)), keeps_states ? "1@64+64" : "1@128+64");
  }
}

TEST(Recovery, WithStatesNothingIsFoundInTheCacheAndWhoEndsAfterABreakIsReleased) {
  Scheduler scheduler(with_states(512, 16));
  add(scheduler, sequence(1, 200));
  commit(scheduler, next(scheduler));
  scheduler.suspend();
  scheduler.resume(kNothing);
  scheduler.remove(SequenceId(1));
  SequenceSpec same = sequence(2, 0);
  same.prompt = sequence(1, 200).prompt;
  add(scheduler, same);
  const StepBatch batch = next(scheduler);
  EXPECT_EQ(describe(batch), "2@0+200*");
  EXPECT_EQ(batch.released, std::vector{SequenceId(1)}) << "its state takes room";
  EXPECT_EQ(scheduler.blocks().n_kept(), 0);
  // So is one of which no row was ever answered.
  scheduler.suspend();
  scheduler.resume(kNothing);
  scheduler.remove(SequenceId(2));
  add(scheduler, sequence(3, 20));
  EXPECT_EQ(next(scheduler).released, (std::vector{SequenceId(1), SequenceId(2)})) << "1: nobody knows who heard of it";
}

TEST(Recovery, WhoseReleaseWasLostWithItsStepIsReleasedWhenItEnds) {
  Scheduler scheduler(with_states(512, 4));
  add(scheduler, sequence(1, 100));
  add(scheduler, sequence(2, 100));
  StepBatch batch = next(scheduler);
  for (int i = 0; i < 40 && batch.released.empty(); ++i) {
    commit(scheduler, batch);
    batch = next(scheduler);
  }
  ASSERT_EQ(batch.released, std::vector{SequenceId(2)}) << "it made room for the first one";
  scheduler.suspend();
  scheduler.resume(kNothing);
  scheduler.remove(SequenceId(2));
  EXPECT_EQ(next(scheduler).released, std::vector{SequenceId(2)});
}

TEST(Recovery, AHitStaysAHitWhenNothingIsLost) {
  Scheduler scheduler(options(512, 16));
  add(scheduler, sequence(1, 200));
  commit(scheduler, next(scheduler));
  scheduler.remove(SequenceId(1));
  scheduler.suspend();
  scheduler.resume(kNothing);
  SequenceSpec same = sequence(2, 0);
  same.prompt = sequence(1, 200).prompt;
  add(scheduler, same);
  EXPECT_EQ(describe(next(scheduler)), "2@192+8*");
  scheduler.suspend();
  scheduler.resume(kSecond);
  EXPECT_EQ(scheduler.blocks().n_kept(), 0) << "the second stage has none of them";
}

TEST(Recovery, OnlyTheLostStageGetsItsRowsAgain) {
  Scheduler scheduler(options(128, 16));
  add(scheduler, sequence(1, 200));
  add(scheduler, sequence(2, 20));
  for (int i = 0; i < 3; ++i) commit(scheduler, next(scheduler));  // both decode now
  scheduler.suspend();
  scheduler.resume(kSecond);

  const StepBatch first = next(scheduler);
  EXPECT_EQ(describe(first), "1@0+128");
  EXPECT_EQ(first.rebuild, kSecond);
  EXPECT_EQ(first.slices[0].new_blocks.size(), 2u);
  const StepBatch second = next(scheduler);
  EXPECT_EQ(describe(second), "1@128+73 2@0+21");
  EXPECT_TRUE(second.is_rebuild());
  const StepBatch plain = next(scheduler);
  EXPECT_EQ(describe(plain), "1@201+1* 2@21+1*") << "right behind, in one go with those that lost rows";
  EXPECT_FALSE(plain.is_rebuild());

  const auto nothing = scheduler.commit(answer(first));
  ASSERT_TRUE(nothing.has_value());
  EXPECT_TRUE(nothing->empty()) << "nobody waits for rows of before";
  commit(scheduler, second);
  commit(scheduler, plain);
  EXPECT_EQ(describe(next(scheduler)), "1@202+1* 2@22+1*");
}

TEST(Recovery, WhoIsThroughGoesOnWhileOthersWait) {
  Scheduler scheduler(options(64, 32));
  add(scheduler, sequence(1, 40));
  add(scheduler, sequence(2, 300));
  for (int i = 0; i < 8; ++i) commit(scheduler, next(scheduler));
  scheduler.suspend();
  scheduler.resume(kSecond);
  std::vector<std::string> steps;
  for (int i = 0; i < 4; ++i) {
    const StepBatch batch = next(scheduler);
    steps.push_back((batch.is_rebuild() ? "again " : "") + describe(batch));
    commit(scheduler, batch);
  }
  ASSERT_TRUE(steps[0].starts_with("again 1@0+")) << steps[0];
  EXPECT_TRUE(steps[1].starts_with("1@")) << steps[1];
  EXPECT_TRUE(steps[2].starts_with("again 2@")) << steps[2];
  EXPECT_TRUE(steps[3].starts_with("1@")) << steps[3];
}

TEST(Recovery, ABreakInTheMiddleBeginsAgain) {
  Scheduler scheduler(options(128, 16));
  add(scheduler, sequence(1, 200));
  for (int i = 0; i < 3; ++i) commit(scheduler, next(scheduler));
  scheduler.suspend();
  scheduler.resume(kSecond);
  commit(scheduler, next(scheduler));
  scheduler.suspend();
  scheduler.resume(kNothing);  // nothing more was lost, but the stage does not have all yet
  EXPECT_EQ(describe(next(scheduler)), "1@0+128");
  const StepBatch second = next(scheduler);
  EXPECT_EQ(describe(second), "1@128+73");
  EXPECT_EQ(second.rebuild, kSecond);
  scheduler.suspend();
  scheduler.resume({2, 2});
  EXPECT_EQ(next(scheduler).rebuild, (StageSpan{1, 2}));
}

TEST(Recovery, ASharedBeginningIsComputedForOneAtATime) {
  Scheduler scheduler(options(150, 32));
  SequenceSpec same = sequence(2, 0);
  same.prompt = sequence(1, 200).prompt;
  same.prompt.resize(150);
  add(scheduler, sequence(1, 200));
  for (int i = 0; i < 2; ++i) commit(scheduler, next(scheduler));
  add(scheduler, same);  // begins behind two blocks of the first one
  commit(scheduler, next(scheduler));
  scheduler.suspend();
  scheduler.resume(kSecond);
  std::vector<std::string> steps;
  for (StepBatch batch = next(scheduler);; batch = next(scheduler)) {
    if (batch.is_rebuild()) steps.push_back(describe(batch));
    commit(scheduler, batch);
    if (describe(batch).find("2@") == 0 || batch.slices.size() == 2) break;
  }
  EXPECT_EQ(steps, (std::vector<std::string>{"1@0+150", "1@150+51 2@0+99"}));
}

TEST(Recovery, WhoLeavesWhileItIsComputedAgainIsReleased) {
  Scheduler scheduler(options(64, 32));
  add(scheduler, sequence(1, 300));
  add(scheduler, sequence(2, 10));
  for (int i = 0; i < 6; ++i) commit(scheduler, next(scheduler));
  scheduler.suspend();
  scheduler.resume(kSecond);
  ASSERT_EQ(describe(next(scheduler)), "1@0+64");
  scheduler.remove(SequenceId(1));
  std::vector<SequenceId> released;
  while (const auto batch = scheduler.next_step()) {
    released.insert(released.end(), batch->released.begin(), batch->released.end());
  }
  EXPECT_EQ(released, std::vector<SequenceId>{SequenceId(1)});
}

/// A sequence far beyond its window of 128, with `n_window_blocks` for all.
Scheduler beyond_its_window(std::int32_t n_window_blocks) {
  SchedulerOptions made = options(64, 32);
  made.window = 128;
  made.n_window_blocks = n_window_blocks;
  Scheduler scheduler(made);
  add(scheduler, sequence(1, 600));
  for (int i = 0; i < 12; ++i) commit(scheduler, next(scheduler));
  return scheduler;
}

TEST(Recovery, BlocksFromBeforeTheWindowAreBorrowed) {
  Scheduler scheduler = beyond_its_window(9);
  const int claimed = scheduler.windows().n_claimed();
  scheduler.suspend();
  scheduler.resume(kSecond);
  int n_rows = 0;
  for (StepBatch batch = next(scheduler); batch.is_rebuild(); batch = next(scheduler)) {
    n_rows += batch.n_rows();
    commit(scheduler, batch);
  }
  EXPECT_EQ(n_rows, 602);
  EXPECT_EQ(scheduler.windows().n_claimed(), claimed) << "and given back";
  EXPECT_EQ(scheduler.n_preemptions(), 0u);
}

TEST(Recovery, WithoutBlocksToBorrowTheSequenceIsComputedWhole) {
  Scheduler scheduler = beyond_its_window(4);
  scheduler.suspend();
  scheduler.resume(kSecond);
  const StepBatch batch = next(scheduler);
  EXPECT_FALSE(batch.is_rebuild());
  EXPECT_EQ(describe(batch), "1@0+64");
  EXPECT_EQ(scheduler.n_preemptions(), 1u);
}

}  // namespace
}  // namespace commissure
