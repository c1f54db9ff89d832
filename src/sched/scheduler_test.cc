#include <gtest/gtest.h>

#include <cmath>

#include "support/scheduler_test_support.h"

namespace commissure {
namespace {

TEST(Scheduler, RunsPromptsTogetherUnderTheRowBudget) {
  Scheduler scheduler(options(10, 16));
  ASSERT_TRUE(scheduler.add(sequence(1, 4)).has_value());
  ASSERT_TRUE(scheduler.add(sequence(2, 8)).has_value());
  EXPECT_EQ(describe(next(scheduler)), "1@0+4* 2@0+6");
  EXPECT_EQ(describe(next(scheduler)), "2@6+2*");  // the next chunk follows at once
  EXPECT_EQ(describe(scheduler.next_step()), "none");
}

TEST(Scheduler, DecodesBeforeNewPrompts) {
  SchedulerOptions small = options(10, 16);
  small.max_mixed_prefill_rows = 3;
  Scheduler scheduler(small);
  ASSERT_TRUE(scheduler.add(sequence(1, 4)).has_value());
  const StepBatch first = next(scheduler);
  ASSERT_TRUE(scheduler.add(sequence(2, 8)).has_value());
  ASSERT_TRUE(scheduler.commit(answer(first)).has_value());
  EXPECT_EQ(describe(next(scheduler)), "1@4+1* 2@0+3");
  EXPECT_EQ(describe(next(scheduler)), "2@3+3");  // still bounded while the other's sample is pending
}

TEST(Scheduler, SpreadsDecodesOverTheSlots) {
  Scheduler scheduler(options(64, 16, 2));
  for (int id = 1; id <= 5; ++id) ASSERT_TRUE(scheduler.add(sequence(static_cast<std::uint64_t>(id), 2)).has_value());
  ASSERT_TRUE(scheduler.commit(answer(next(scheduler))).has_value());
  const StepBatch first = next(scheduler);
  EXPECT_EQ(describe(first), "1@2+1* 2@2+1* 3@2+1*");
  EXPECT_EQ(describe(next(scheduler)), "4@2+1* 5@2+1*");
  EXPECT_EQ(describe(scheduler.next_step()), "none");
  ASSERT_TRUE(scheduler.commit(answer(first)).has_value());
  EXPECT_EQ(describe(next(scheduler)), "1@3+1* 2@3+1* 3@3+1*");
}

TEST(Scheduler, SendsTableChangesAndParamsOnce) {
  Scheduler scheduler(options(40, 16));
  ASSERT_TRUE(scheduler.add(sequence(1, 64)).has_value());
  StepBatch batch = next(scheduler);
  EXPECT_EQ(batch.slices[0].table_start, 0);
  EXPECT_EQ(batch.slices[0].new_blocks, std::vector<BlockId>{BlockId(0)});
  EXPECT_TRUE(batch.slices[0].params.has_value());
  ASSERT_TRUE(scheduler.commit(answer(batch)).has_value());
  batch = next(scheduler);
  EXPECT_EQ(batch.slices[0].table_start, 1);
  EXPECT_TRUE(batch.slices[0].new_blocks.empty());
  EXPECT_FALSE(batch.slices[0].params.has_value());
  ASSERT_TRUE(scheduler.commit(answer(batch)).has_value());
  batch = next(scheduler);  // position 64 opens the second block
  EXPECT_EQ(describe(batch), "1@64+1*");
  EXPECT_EQ(batch.slices[0].tokens, std::vector<TokenId>{TokenId(7)});
  EXPECT_EQ(batch.slices[0].table_start, 1);
  EXPECT_EQ(batch.slices[0].new_blocks, std::vector<BlockId>{BlockId(1)});
}

TEST(Scheduler, ReleasesRemovedSequencesInTheNextStep) {
  Scheduler scheduler(options(40, 16));
  ASSERT_TRUE(scheduler.add(sequence(1, 4)).has_value());
  ASSERT_TRUE(scheduler.add(sequence(2, 4)).has_value());
  const StepBatch batch = next(scheduler);
  scheduler.remove(SequenceId(1));
  EXPECT_EQ(scheduler.blocks().n_free(), 15);
  const auto progress = scheduler.commit(answer(batch));
  ASSERT_TRUE(progress.has_value());
  ASSERT_EQ(progress->size(), 1u);  // the removed one's token is nobody's
  EXPECT_EQ(progress->front().sequence, SequenceId(2));
  EXPECT_EQ(next(scheduler).released, std::vector<SequenceId>{SequenceId(1)});
  scheduler.remove(SequenceId(2));
  EXPECT_EQ(scheduler.blocks().n_free(), 16);
}

TEST(Scheduler, PreemptsTheYoungestAndComputesItAgainFromItsLog) {
  SchedulerOptions few = options(256, 3);
  few.prefix_cache = false;
  Scheduler tight(few);
  ASSERT_TRUE(tight.add(sequence(1, 60, 100)).has_value());
  ASSERT_TRUE(tight.add(sequence(2, 60, 100)).has_value());
  StepBatch batch;
  std::vector<SequenceId> released;
  for (int i = 0; i < 8; ++i) {
    batch = next(tight);
    released.insert(released.end(), batch.released.begin(), batch.released.end());
    ASSERT_TRUE(tight.commit(answer(batch)).has_value());
  }
  EXPECT_EQ(tight.n_preemptions(), 1u);
  EXPECT_EQ(released, std::vector<SequenceId>{SequenceId(2)});
  EXPECT_EQ(tight.n_waiting(), 1);
  tight.remove(SequenceId(1));
  batch = next(tight);
  EXPECT_EQ(batch.slices[0].first_position, 0);
  EXPECT_GT(batch.slices[0].n_rows(), 60);
  EXPECT_EQ(batch.slices[0].tokens.back(), TokenId(7));
  EXPECT_TRUE(batch.slices[0].params.has_value());
}

SequenceSpec ranked(std::uint64_t id, int priority, int n_prompt = 4, int max_tokens = 8) {
  SequenceSpec spec = sequence(id, n_prompt, max_tokens);
  spec.priority = priority;
  return spec;
}

TEST(Scheduler, AdmitsTheLowestPriorityValueFirstAndEqualsInOrderOfArrival) {
  SchedulerOptions one = options(64, 16);
  one.max_sequences = 1;
  Scheduler scheduler(one);
  for (const auto& [id, priority] : {std::pair(1, 0), std::pair(2, 5), std::pair(3, 0), std::pair(4, -1)}) {
    ASSERT_TRUE(scheduler.add(ranked(static_cast<std::uint64_t>(id), priority)).has_value());
  }
  std::string order;
  for (int i = 0; i < 4; ++i) {
    const StepBatch batch = next(scheduler);
    order += describe(batch) + " ";
    ASSERT_TRUE(scheduler.commit(answer(batch)).has_value());
    scheduler.remove(batch.slices.front().sequence);
  }
  EXPECT_EQ(order, "4@0+4* 1@0+4* 3@0+4* 2@0+4* ");
}

TEST(Scheduler, PreemptsTheYoungestOfTheLowestRank) {
  SchedulerOptions few = options(256, 4);
  few.prefix_cache = false;
  Scheduler scheduler(few);
  ASSERT_TRUE(scheduler.add(ranked(1, 9, 60, 60)).has_value());
  ASSERT_TRUE(scheduler.commit(answer(next(scheduler))).has_value());
  ASSERT_TRUE(scheduler.add(ranked(2, 0, 60, 100)).has_value());
  ASSERT_TRUE(scheduler.add(ranked(3, 0, 60, 100)).has_value());
  while (scheduler.n_preemptions() == 0) ASSERT_TRUE(scheduler.commit(answer(next(scheduler))).has_value());
  EXPECT_FALSE(scheduler.is_running(SequenceId(1))) << "the oldest, but it matters least";
  EXPECT_TRUE(scheduler.is_running(SequenceId(2)));
  while (scheduler.n_preemptions() == 1) ASSERT_TRUE(scheduler.commit(answer(next(scheduler))).has_value());
  EXPECT_TRUE(scheduler.is_running(SequenceId(2)));
  EXPECT_FALSE(scheduler.is_running(SequenceId(3))) << "the younger of two equals";
  scheduler.remove(SequenceId(2));
  EXPECT_EQ(next(scheduler).slices.front().sequence, SequenceId(3)) << "before the one that waited longer";
}

TEST(Scheduler, ATokenOfAnEarlierLifeIsDropped) {
  Scheduler scheduler(options(256, 2, 2));
  ASSERT_TRUE(scheduler.add(sequence(1, 63, 8)).has_value());
  ASSERT_TRUE(scheduler.add(sequence(2, 30, 8)).has_value());
  ASSERT_TRUE(scheduler.commit(answer(next(scheduler))).has_value());
  const StepBatch first = next(scheduler);
  const StepBatch second = next(scheduler);
  EXPECT_EQ(describe(second), "2@30+1*");
  ASSERT_TRUE(scheduler.commit(answer(first)).has_value());
  const StepBatch third = next(scheduler);  // takes the block of 2, whose sample is pending
  EXPECT_EQ(describe(third), "1@64+1*");
  EXPECT_EQ(third.released, std::vector<SequenceId>{SequenceId(2)});
  scheduler.remove(SequenceId(1));
  const StepBatch fourth = next(scheduler);
  EXPECT_EQ(describe(fourth), "2@0+31*");
  for (const StepBatch* late : {&second, &third}) {
    const auto progress = scheduler.commit(answer(*late));
    ASSERT_TRUE(progress.has_value());
    EXPECT_TRUE(progress->empty());
  }
  EXPECT_EQ(describe(scheduler.next_step()), "none");
  ASSERT_TRUE(scheduler.commit(answer(fourth, 9)).has_value());
  EXPECT_EQ(next(scheduler).slices[0].tokens, std::vector<TokenId>{TokenId(9)});
}

TEST(Scheduler, RefusesWhatCanNeverFit) {
  Scheduler scheduler(options(256, 2));
  EXPECT_TRUE(scheduler.add(sequence(1, 100, 29)).has_value());  // 128 rows: the last token needs none
  const Status status = scheduler.add(sequence(2, 100, 30));
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().code(), Code::kOutOfRange);
}

TEST(Scheduler, ScoresEveryPromptTokenButTheFirst) {
  Scheduler scheduler(options(3, 16));
  SequenceSpec spec = sequence(1, 5, 0);
  spec.score_prompt = true;
  ASSERT_TRUE(scheduler.add(spec).has_value());
  StepBatch batch = next(scheduler);
  EXPECT_EQ(describe(batch), "1@0+3");
  EXPECT_EQ(batch.slices[0].targets, (std::vector<TokenId>{TokenId(11), TokenId(12), TokenId(13)}));
  ASSERT_TRUE(scheduler.commit(answer(batch)).has_value());
  batch = next(scheduler);
  EXPECT_EQ(describe(batch), "1@3+1");
  const auto progress = scheduler.commit(answer(batch));
  ASSERT_TRUE(progress.has_value());
  EXPECT_EQ(progress->front().first_scored, 3);
  EXPECT_EQ(progress->front().scored.front().chosen.token, TokenId(14));
  EXPECT_EQ(describe(scheduler.next_step()), "none");
}

TEST(Scheduler, DropsTheStandInScoreOfTheLastPromptRow) {
  Scheduler scheduler(options(64, 16));
  SequenceSpec spec = sequence(1, 5, 4);
  spec.score_prompt = true;
  ASSERT_TRUE(scheduler.add(spec).has_value());
  const StepBatch batch = next(scheduler);
  EXPECT_EQ(batch.slices[0].targets.size(), 5u);
  const auto progress = scheduler.commit(answer(batch));
  ASSERT_TRUE(progress.has_value());
  EXPECT_EQ(progress->front().scored.size(), 4u);
  EXPECT_TRUE(progress->front().sampled.has_value());
  EXPECT_TRUE(next(scheduler).slices[0].targets.empty());
}

TEST(Scheduler, RestartComputesEverySequenceAgainInOrder) {
  Scheduler scheduler(options(64, 16));
  ASSERT_TRUE(scheduler.add(sequence(1, 4)).has_value());
  ASSERT_TRUE(scheduler.add(sequence(2, 4)).has_value());
  ASSERT_TRUE(scheduler.commit(answer(next(scheduler))).has_value());
  next(scheduler);
  scheduler.restart();
  EXPECT_EQ(scheduler.n_in_flight(), 0);
  EXPECT_EQ(scheduler.blocks().n_free(), 16);
  const StepBatch batch = next(scheduler);
  EXPECT_EQ(describe(batch), "1@0+5* 2@0+5*");
  EXPECT_EQ(batch.slices[0].table_start, 0);
}

TEST(Scheduler, AFailedStepNamesItsSequencesAndRepeatsItsReleases) {
  Scheduler scheduler(options(64, 16));
  for (int id = 1; id <= 3; ++id) ASSERT_TRUE(scheduler.add(sequence(static_cast<std::uint64_t>(id), 4)).has_value());
  ASSERT_TRUE(scheduler.commit(answer(next(scheduler))).has_value());
  scheduler.remove(SequenceId(1));
  EXPECT_EQ(next(scheduler).released, std::vector<SequenceId>{SequenceId(1)});
  EXPECT_EQ(scheduler.fail_step(), (std::vector<SequenceId>{SequenceId(2), SequenceId(3)}));
  scheduler.remove(SequenceId(2));
  scheduler.remove(SequenceId(3));
  ASSERT_TRUE(scheduler.add(sequence(4, 4)).has_value());
  EXPECT_EQ(next(scheduler).released, (std::vector<SequenceId>{SequenceId(1), SequenceId(2), SequenceId(3)}));
}

TEST(Scheduler, RefusesAnswersThatDoNotFitTheStep) {
  Scheduler scheduler(options(64, 16));
  ASSERT_TRUE(scheduler.add(sequence(1, 4)).has_value());
  const StepBatch batch = next(scheduler);
  const auto refused = [&](const auto& spoil) {
    SampledTokens tokens = answer(batch);
    spoil(tokens);
    const auto progress = scheduler.commit(tokens);
    return !progress.has_value() && progress.error().code() == Code::kDataLoss;
  };
  EXPECT_TRUE(refused([](SampledTokens& t) { t.step = t.step.next(); }));
  EXPECT_TRUE(refused([](SampledTokens& t) { t.results.clear(); }));
  EXPECT_TRUE(refused([](SampledTokens& t) { t.results[0].sequence = SequenceId(9); }));
  EXPECT_TRUE(refused([](SampledTokens& t) { t.results[0].sampled.reset(); }));
  EXPECT_TRUE(refused([](SampledTokens& t) { t.results[0].scored.emplace_back(); }));
  EXPECT_TRUE(refused([](SampledTokens& t) { t.results[0].sampled->chosen.token = TokenId(1000); }));
  EXPECT_TRUE(refused([](SampledTokens& t) { t.results[0].sampled->chosen.logprob = std::nanf(""); }));
  EXPECT_TRUE(scheduler.commit(answer(batch)).has_value());
}

}  // namespace
}  // namespace commissure
