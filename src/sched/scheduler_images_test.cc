#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "support/scheduler_test_support.h"

// An image whose rows see each other is computed in one step, and counts as its content in the prefix cache.

namespace commissure {
namespace {

constexpr StageSpan kSecond{1, 1};

std::shared_ptr<const ImageRows> image(const std::string& key, int n_rows, bool see_each_other = true) {
  return std::make_shared<ImageRows>(
      ImageRows{.key = key, .n_rows = n_rows, .see_each_other = see_each_other, .values = {}});
}

SequenceSpec with_image(SequenceSpec spec, int first, std::shared_ptr<const ImageRows> rows) {
  for (int i = 0; i < rows->n_rows; ++i) spec.prompt[to_size(first + i)] = TokenId(0);
  spec.images.push_back({first, std::move(rows)});
  return spec;
}

void add(Scheduler& scheduler, SequenceSpec spec) {
  const Status added = scheduler.add(std::move(spec));
  ASSERT_TRUE(added.has_value()) << added.error().message();
}

void commit(Scheduler& scheduler, const StepBatch& batch) { ASSERT_TRUE(scheduler.commit(answer(batch)).has_value()); }

TEST(Images, AChunkEndsBeforeAnImageThatItsStepHasNoRoomFor) {
  Scheduler scheduler(options(100, 16));
  add(scheduler, with_image(sequence(1, 200), 60, image("a", 80)));
  EXPECT_EQ(describe(next(scheduler)), "1@0+60");
  const StepBatch whole = next(scheduler);
  EXPECT_EQ(describe(whole), "1@60+100") << "the image and what follows it";
  ASSERT_EQ(whole.slices[0].images.size(), 1u);
  EXPECT_EQ(whole.slices[0].images[0].first_position, 60);
  EXPECT_EQ(whole.slices[0].images[0].n_rows, 80);
  const StepBatch rest = next(scheduler);
  EXPECT_EQ(describe(rest), "1@160+40*");
  EXPECT_TRUE(rest.slices[0].images.empty());
}

TEST(Images, AnImageTakesMoreThanAPromptsShareBesideDecodes) {
  SchedulerOptions made = options(160, 16);
  made.max_mixed_prefill_rows = 16;
  Scheduler scheduler(made);
  add(scheduler, sequence(1, 20));
  commit(scheduler, next(scheduler));
  add(scheduler, with_image(sequence(2, 120), 10, image("a", 100)));
  EXPECT_EQ(describe(next(scheduler)), "1@20+1* 2@0+110") << "16 rows would end within the image";
}

TEST(Images, OneWhoseRowsSeeOnlyWhatIsBeforeThemIsCutLikeText) {
  Scheduler scheduler(options(100, 16));
  add(scheduler, with_image(sequence(1, 200), 60, image("a", 80, false)));
  const StepBatch first = next(scheduler);
  EXPECT_EQ(describe(first), "1@0+100");
  EXPECT_EQ(first.slices[0].images.size(), 1u);
  const StepBatch second = next(scheduler);
  EXPECT_EQ(describe(second), "1@100+100*");
  EXPECT_EQ(second.slices[0].images.size(), 1u) << "its last rows";
}

TEST(Images, NewcomersLeaveRoomForTheImageThatIsNext) {
  SchedulerOptions made = options(100, 64);
  made.max_sequences = 8;
  Scheduler scheduler(made);
  add(scheduler, with_image(sequence(1, 300), 0, image("a", 90)));
  for (std::uint64_t id = 2; id < 8; ++id) add(scheduler, sequence(id, 30));
  const StepBatch first = next(scheduler);
  ASSERT_FALSE(first.slices.empty());
  bool has_image = false;
  for (const SequenceRows& slice : first.slices) has_image = has_image || !slice.images.empty();
  EXPECT_TRUE(has_image) << describe(first);
}

TEST(Images, OneThatNoStepHasRoomForIsRefused) {
  Scheduler scheduler(options(100, 16));
  const Status status = scheduler.add(with_image(sequence(1, 200), 60, image("a", 93)));
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().code(), Code::kOutOfRange);
  EXPECT_NE(status.error().message().find("image of 93 rows"), std::string::npos) << status.error().message();
  add(scheduler, with_image(sequence(2, 200), 60, image("a", 92)));
}

TEST(Images, AScoredPromptMayNotEndWithOne) {
  Scheduler scheduler(options(200, 16));
  SequenceSpec scored = with_image(sequence(1, 100, 0), 20, image("a", 80));
  scored.score_prompt = true;
  const Status status = scheduler.add(scored);
  ASSERT_FALSE(status.has_value()) << "its last row is not computed, so the others would wait for ever";
  EXPECT_EQ(status.error().code(), Code::kInvalidArgument);
  scored = with_image(sequence(2, 101, 0), 20, image("a", 80));
  scored.score_prompt = true;
  add(scheduler, scored);
  EXPECT_EQ(describe(next(scheduler)), "2@0+100");
}

TEST(Images, TheCacheKnowsThemByTheirContent) {
  Scheduler scheduler(options(400, 32));
  const auto run = [&](std::uint64_t id, SequenceSpec spec) {
    spec.id = SequenceId(id);
    add(scheduler, spec);
    const StepBatch batch = next(scheduler);
    commit(scheduler, batch);
    scheduler.remove(spec.id);
    return describe(batch);
  };
  const SequenceSpec first = with_image(sequence(1, 300), 70, image("a", 100));
  EXPECT_EQ(run(1, first), "1@0+300*");
  EXPECT_EQ(run(2, first), "2@256+44*") << "the same image";
  EXPECT_EQ(run(3, with_image(sequence(1, 300), 70, image("b", 100))), "3@64+236*")
      << "another: the block before it is shared";
  EXPECT_EQ(run(4, with_image(sequence(1, 300), 71, image("a", 100))), "4@64+236*") << "the same a place further";
  EXPECT_EQ(run(5, sequence(1, 300)), "5@64+236*") << "none";
  SequenceSpec other_end = first;
  other_end.prompt[180] = TokenId(999);
  EXPECT_EQ(run(6, other_end), "6@128+172*") << "a hit ends in the midst of the image, and its other rows follow";
}

TEST(Images, ALostStageGetsAllRowsOfAnImageOrNone) {
  Scheduler scheduler(options(128, 16));
  add(scheduler, with_image(sequence(1, 200), 100, image("a", 80)));
  for (int i = 0; i < 3; ++i) commit(scheduler, next(scheduler));
  scheduler.suspend();
  scheduler.resume(kSecond);
  const StepBatch first = next(scheduler);
  EXPECT_EQ(describe(first), "1@0+100");
  EXPECT_TRUE(first.is_rebuild());
  const StepBatch second = next(scheduler);
  EXPECT_EQ(describe(second), "1@100+101");
  EXPECT_TRUE(second.is_rebuild());
  EXPECT_EQ(second.slices[0].images.size(), 1u);
}

TEST(Images, WhoBeganInTheMidstOfOneIsComputedAgainWholeWhenAStageIsLost) {
  Scheduler scheduler(options(400, 32));
  const SequenceSpec first = with_image(sequence(1, 300), 70, image("a", 100));
  add(scheduler, first);
  commit(scheduler, next(scheduler));
  scheduler.remove(first.id);
  SequenceSpec other_end = first;
  other_end.id = SequenceId(2);
  other_end.prompt[180] = TokenId(999);
  add(scheduler, other_end);
  EXPECT_EQ(describe(next(scheduler)), "2@128+172*");
  scheduler.suspend();
  scheduler.resume(kSecond);
  const StepBatch again = next(scheduler);
  EXPECT_EQ(describe(again), "2@0+300*");
  EXPECT_FALSE(again.is_rebuild());
}

}  // namespace
}  // namespace commissure
