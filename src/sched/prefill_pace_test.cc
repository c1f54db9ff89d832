#include "sched/prefill_pace.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "support/scheduler_test_support.h"

namespace commissure {
namespace {

using std::chrono::microseconds;

/// What a step takes on a machine where each prompt row costs `row_us`.
microseconds step_time(int n_prompt_rows, double row_us) {
  return microseconds(10'000 + static_cast<int>(n_prompt_rows * row_us));
}

TEST(PrefillPace, IsUnboundWithoutALimitAndWithoutDecodes) {
  EXPECT_GT(PrefillPace(1).rows(8, 1), 1'000'000);
  EXPECT_GT(PrefillPace(2.5).rows(0, 1), 1'000'000);
}

TEST(PrefillPace, AsksForATimeWithoutPromptsFirst) {
  PrefillPace pace(2.5);
  EXPECT_EQ(pace.rows(8, 1), 0);
  pace.on_step(8, 40, microseconds(30'000));  // a prompt was in flight: says nothing about the decodes
  EXPECT_EQ(pace.rows(8, 1), 0);
  pace.on_step(8, 0, step_time(0, 0));
  EXPECT_EQ(pace.rows(8, 1), PrefillPace::kMinRows);
  EXPECT_EQ(pace.rows(15, 1), PrefillPace::kMinRows);
  EXPECT_EQ(pace.rows(7, 1), 0);
}

TEST(PrefillPace, MoreStreamsCountAsFewerUntilTheyAreMeasured) {
  PrefillPace pace(2.5);
  pace.on_step(2, 0, step_time(0, 0));
  pace.on_step(2, 16, step_time(16, 100));
  EXPECT_EQ(pace.rows(8, 1), 150);
  pace.on_step(8, 0, microseconds(20'000));
  EXPECT_EQ(pace.rows(8, 1), 300);
  EXPECT_EQ(pace.rows(2, 1), 150);
}

TEST(PrefillPace, SettlesAtTheLimitAndFollowsTheGrowingPrompt) {
  PrefillPace pace(2.5);
  pace.on_step(8, 0, step_time(0, 0));
  for (const double row_us : {100.0, 200.0, 400.0}) {
    for (int i = 0; i < 12; ++i) {
      const int rows = pace.rows(8, 1);
      pace.on_step(8, rows, step_time(rows, row_us));
    }
    const double slowdown = static_cast<double>(step_time(pace.rows(8, 1), row_us) / microseconds(1)) / 10'000;
    EXPECT_NEAR(slowdown, 2.5, 0.1) << row_us;
  }
}

TEST(PrefillPace, EachPromptThatWaitsMayAddAsMuch) {
  PrefillPace pace(2.5);
  pace.on_step(8, 0, step_time(0, 0));
  pace.on_step(8, 16, step_time(16, 100));
  EXPECT_EQ(pace.rows(8, 1), 150);
  EXPECT_EQ(pace.rows(8, 3), 450);
}

TEST(PrefillPace, ThePromptGoesOnHoweverSlowItsRowsAre) {
  PrefillPace pace(2.5);
  pace.on_step(1, 0, step_time(0, 0));
  for (int i = 0; i < 12; ++i) pace.on_step(1, 16, step_time(16, 100'000));
  EXPECT_EQ(pace.rows(1, 1), PrefillPace::kMinRows);
}

TEST(PrefillPace, MeasuresAgainWhatIsOld) {
  PrefillPace pace(2.5);
  pace.on_step(8, 0, step_time(0, 0));
  int n_steps = 0;
  for (; pace.rows(8, 1) > 0; ++n_steps) pace.on_step(8, 16, step_time(16, 100));
  EXPECT_EQ(n_steps, 128);
  pace.on_step(8, 0, step_time(0, 0));
  EXPECT_GT(pace.rows(8, 1), 0);
}

/// Runs a prompt of 500 tokens beside a stream; the longest step with a decode row once the time of a row is known.
int longest_mixed_step(double max_slowdown, int decode_slots) {
  SchedulerOptions paced = options(256, 64, decode_slots);
  paced.max_slowdown = max_slowdown;
  Scheduler scheduler(paced);
  EXPECT_TRUE(scheduler.add(sequence(1, 4, 500)).has_value());
  int longest = 0;
  for (int i = 0; i < 60; ++i) {
    if (i == 5) {
      EXPECT_TRUE(scheduler.add(sequence(2, 500, 1)).has_value());
    }
    const StepBatch batch = next(scheduler);
    const int n_prompt_rows = batch.n_rows() - 1;
    if (i >= 5) longest = std::max(longest, n_prompt_rows);
    EXPECT_TRUE(scheduler.commit(answer(batch), step_time(n_prompt_rows, 500)).has_value());
  }
  return longest;
}

TEST(Scheduler, PacesAPromptBesideDecodesByMeasuredTimes) {
  EXPECT_EQ(longest_mixed_step(2.5, 1), 30);  // 15 ms for rows of 0.5 ms
  EXPECT_EQ(longest_mixed_step(4, 1), 60);
  EXPECT_EQ(longest_mixed_step(4, 2), 30) << "half of it in each of two steps";
  EXPECT_EQ(longest_mixed_step(0, 1), 64) << "a quarter of the rows of a step";
}

TEST(Scheduler, MeasuresDecodesOnceBeforeItPacesAPrompt) {
  SchedulerOptions paced = options(64, 16);
  paced.max_slowdown = 2.5;
  Scheduler scheduler(paced);
  ASSERT_TRUE(scheduler.add(sequence(1, 4)).has_value());
  ASSERT_TRUE(scheduler.commit(answer(next(scheduler)), microseconds(9)).has_value());
  ASSERT_TRUE(scheduler.add(sequence(2, 40)).has_value());
  const StepBatch alone = next(scheduler);
  EXPECT_EQ(describe(alone), "1@4+1*");
  EXPECT_EQ(describe(scheduler.next_step()), "none");
  ASSERT_TRUE(scheduler.commit(answer(alone), microseconds(9)).has_value());
  EXPECT_EQ(describe(next(scheduler)), "1@5+1* 2@0+8");
}

}  // namespace
}  // namespace commissure
