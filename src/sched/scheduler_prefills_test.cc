#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "support/scheduler_test_support.h"

namespace commissure {
namespace {

/// Prompts that share no beginning.
SequenceSpec prompt(std::uint64_t id, int n_prompt, int max_tokens = 8) {
  SequenceSpec spec = sequence(id, n_prompt, max_tokens);
  for (int i = 0; i < n_prompt; ++i) spec.prompt[i] = TokenId(static_cast<int>((id * 331 + i * 7 + i / 64) % 1000));
  return spec;
}

/// Answers steps as they are planned; the number of steps after which each sequence had its first token.
std::map<std::uint64_t, int> first_tokens(Scheduler& scheduler, int n_wanted, int max_steps = 1000) {
  std::map<std::uint64_t, int> first;
  for (int step = 1; std::ssize(first) < n_wanted && step <= max_steps; ++step) {
    const StepBatch batch = next(scheduler);
    const auto progress = scheduler.commit(answer(batch));
    EXPECT_TRUE(progress.has_value());
    if (!progress) break;
    for (const Progress& made : *progress) {
      if (made.sampled) first.emplace(made.sequence.value, step);
    }
  }
  return first;
}

SchedulerOptions roomy(int max_rows = 512) {
  SchedulerOptions made = options(max_rows, 1000);
  made.max_sequences = 64;
  made.max_mixed_prefill_rows = max_rows;
  return made;
}

TEST(Prefills, AShortPromptDoesNotWaitForALongOne) {
  Scheduler scheduler(roomy());
  ASSERT_TRUE(scheduler.add(prompt(1, 7000)).has_value());
  next(scheduler);
  ASSERT_TRUE(scheduler.add(prompt(2, 5)).has_value());
  EXPECT_EQ(describe(next(scheduler)), "2@0+5* 1@512+507") << "the long one gets the rest of the rows";
}

TEST(Prefills, FirstComeFirstServedWhereOnePromptIsComputedAtATime) {
  SchedulerOptions one = roomy();
  one.max_partial_prefills = 1;
  Scheduler scheduler(one);
  for (const auto& [id, n_prompt] : {std::pair(1, 7000), std::pair(2, 5)})
    ASSERT_TRUE(scheduler.add(prompt(static_cast<std::uint64_t>(id), n_prompt)).has_value());
  EXPECT_EQ(first_tokens(scheduler, 2), (std::map<std::uint64_t, int>{{1, 14}, {2, 14}}));
}

TEST(Prefills, NewcomersHaveTheirFirstTokenWithinTwoStepsBehindSevenThousandTokens) {
  Scheduler scheduler(roomy());
  ASSERT_TRUE(scheduler.add(prompt(1, 7000)).has_value());
  ASSERT_TRUE(scheduler.add(prompt(2, 7000)).has_value());  // in front of them too
  for (std::uint64_t id = 3; id < 13; ++id) ASSERT_TRUE(scheduler.add(prompt(id, 20)).has_value());
  const auto first = first_tokens(scheduler, 12);
  for (std::uint64_t id = 3; id < 13; ++id) EXPECT_LE(first.at(id), 2 + 1) << id;
  EXPECT_LE(first.at(1), 15) << "two hundred tokens of others are one step more";
  EXPECT_LE(first.at(2), 29);
}

TEST(Prefills, TheOldestKeepsThreeQuartersOfTheRows) {
  Scheduler scheduler(roomy());
  ASSERT_TRUE(scheduler.add(prompt(1, 7000)).has_value());
  next(scheduler);
  for (std::uint64_t id = 2; id < 6; ++id) ASSERT_TRUE(scheduler.add(prompt(id, 1000)).has_value());
  EXPECT_EQ(describe(next(scheduler)), "2@0+128 1@512+384");
  EXPECT_EQ(describe(next(scheduler)), "2@128+128 1@896+384") << "one after the other, not all at once";
}

TEST(Prefills, EqualPromptsRunOneAfterTheOther) {
  Scheduler scheduler(roomy());
  for (std::uint64_t id = 1; id < 4; ++id) ASSERT_TRUE(scheduler.add(prompt(id, 2048)).has_value());
  EXPECT_EQ(first_tokens(scheduler, 3), (std::map<std::uint64_t, int>{{1, 4}, {2, 9}, {3, 13}}));
}

TEST(Prefills, NoMoreThanSoManyArePartlyComputed) {
  Scheduler scheduler(roomy(64));
  ASSERT_TRUE(scheduler.add(prompt(1, 4000)).has_value());
  next(scheduler);
  int n_prompt = 2000;  // each is sooner done than all before
  for (std::uint64_t id = 2; id < 9; ++id, n_prompt -= 200) {
    ASSERT_TRUE(scheduler.add(prompt(id, n_prompt)).has_value());
    next(scheduler);
    EXPECT_LE(scheduler.n_running(), 4);
  }
  ASSERT_TRUE(scheduler.add(prompt(9, 5)).has_value());
  EXPECT_EQ(next(scheduler).slices.front().sequence, SequenceId(9)) << "one that is done at once always may";
}

TEST(Prefills, AStreamOfShortPromptsStarvesNobody) {
  Scheduler scheduler(roomy(64));
  ASSERT_TRUE(scheduler.add(prompt(1, 960, 1)).has_value());
  ASSERT_TRUE(scheduler.add(prompt(2, 960, 1)).has_value());
  std::uint64_t id = 3;
  int n_steps = 0;
  for (int n_done = 0; n_done < 2 && n_steps < 100; ++n_steps) {
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(scheduler.add(prompt(id++, 16, 1)).has_value());
    const StepBatch batch = next(scheduler);
    const auto progress = scheduler.commit(answer(batch));
    ASSERT_TRUE(progress.has_value());
    for (const Progress& made : *progress) {
      if (!made.sampled) continue;
      n_done += made.sequence.value <= 2 ? 1 : 0;
      scheduler.remove(made.sequence);
    }
  }
  EXPECT_LE(n_steps, 2 * 960 / 48 + 2);
}

TEST(Prefills, OneThatTakesSeveralStepsPassesNobodyWhoWaits) {
  Scheduler scheduler(roomy());
  ASSERT_TRUE(scheduler.add(prompt(1, 7000)).has_value());
  next(scheduler);
  ASSERT_TRUE(scheduler.add(prompt(2, 6000)).has_value());
  ASSERT_TRUE(scheduler.add(prompt(3, 5000)).has_value());
  EXPECT_EQ(describe(next(scheduler)), "2@0+128 1@512+384") << "the shorter one came later";
  ASSERT_TRUE(scheduler.add(prompt(4, 20)).has_value());
  EXPECT_TRUE(describe(next(scheduler)).starts_with("4@0+20* ")) << "one that is done at once may pass";
}

TEST(Prefills, AWorseRankWaits) {
  Scheduler scheduler(roomy());
  ASSERT_TRUE(scheduler.add(prompt(1, 7000)).has_value());
  next(scheduler);
  SequenceSpec lower = prompt(2, 5);
  lower.priority = 1;
  ASSERT_TRUE(scheduler.add(lower).has_value());
  EXPECT_EQ(describe(next(scheduler)), "1@512+512");
}

TEST(Prefills, WhoseBeginningIsBeingComputedWaitsForIt) {
  Scheduler scheduler(roomy());
  const SequenceSpec first = prompt(1, 3000);
  ASSERT_TRUE(scheduler.add(first).has_value());
  const StepBatch step = next(scheduler);
  SequenceSpec second = prompt(2, 2100);
  std::copy_n(first.prompt.begin(), 2000, second.prompt.begin());
  ASSERT_TRUE(scheduler.add(second).has_value());
  SequenceSpec apart = second;
  apart.id = SequenceId(3);
  apart.cache_salt = "another's";
  ASSERT_TRUE(scheduler.add(apart).has_value());
  const StepBatch beside = next(scheduler);
  EXPECT_EQ(describe(beside), "3@0+128 1@512+384");
  ASSERT_TRUE(scheduler.commit(answer(step)).has_value());
  ASSERT_TRUE(scheduler.commit(answer(beside)).has_value());
  std::optional<StepBatch> batch;
  int n_computed = 0;
  for (bool sampled = false; !sampled;) {
    batch = next(scheduler);
    for (const SequenceRows& slice : batch->slices) {
      if (slice.sequence != SequenceId(2)) continue;
      n_computed += slice.n_rows();
      sampled |= slice.sample;
    }
    ASSERT_TRUE(scheduler.commit(answer(*batch)).has_value());
  }
  EXPECT_LE(n_computed, 100 + 2 * kBlockPositions) << "the rest came from the prefix cache";
}

TEST(Prefills, OneWithMostOfItInTheCacheIsShort) {
  Scheduler scheduler(roomy());
  const SequenceSpec history = prompt(1, 4000, 1);
  ASSERT_TRUE(scheduler.add(history).has_value());
  first_tokens(scheduler, 1);
  scheduler.remove(SequenceId(1));
  ASSERT_TRUE(scheduler.add(prompt(2, 3000)).has_value());
  next(scheduler);
  SequenceSpec goes_on = history;
  goes_on.id = SequenceId(3);
  goes_on.prompt.insert(goes_on.prompt.end(), 20, TokenId(5));
  ASSERT_TRUE(scheduler.add(goes_on).has_value());
  EXPECT_EQ(describe(next(scheduler)), "3@3968+52* 2@512+460");
}

// What goes into a step's header.

SequenceSpec with_lists(std::uint64_t id, int n_tokens, int first = 1) {
  SequenceSpec spec = prompt(id, 4);
  spec.params.allowed.assign(n_tokens, TokenId(first));
  return spec;
}

std::size_t header_bytes(const SequenceSpec& spec) {
  return StepRoom::bytes_alone({.n_rows = 64, .n_blocks = 8, .params = &spec.params});
}

TEST(HeaderRoom, NewcomersWaitAStepWhereTheHeaderIsFullAndKeepTheirOrder) {
  SchedulerOptions narrow = roomy(64);
  narrow.max_header_bytes = 10 * header_bytes(with_lists(1, 1000)) / 3;  // three sequences with lists
  Scheduler scheduler(narrow);
  for (std::uint64_t id = 1; id < 8; ++id) {
    const int own = static_cast<int>(id);
    ASSERT_TRUE(scheduler.add(with_lists(id, id == 5 ? 0 : 1000, own)).has_value());
  }
  std::string order;
  for (int i = 0; i < 2; ++i) {
    for (const SequenceRows& slice : next(scheduler).slices) order += std::to_string(slice.sequence.value);
    order += " ";
  }
  EXPECT_EQ(order, "123 4567 ") << "none goes before another, though the fifth alone would have fitted";
}

TEST(HeaderRoom, ChoicesOfOneRequestShareTheirLists) {
  SchedulerOptions narrow = roomy(64);
  narrow.max_header_bytes = 2 * header_bytes(with_lists(1, 10'000));
  Scheduler scheduler(narrow);
  for (std::uint64_t id = 1; id < 9; ++id) ASSERT_TRUE(scheduler.add(with_lists(id, 10'000)).has_value());
  EXPECT_EQ(next(scheduler).slices.size(), 8u);
}

TEST(HeaderRoom, WhatNoStepCanCarryIsRefusedAlone) {
  SchedulerOptions narrow = roomy(64);
  narrow.max_header_bytes = 16'384;
  Scheduler scheduler(narrow);
  ASSERT_TRUE(scheduler.add(with_lists(1, 100)).has_value());
  const Status refused = scheduler.add(with_lists(2, 5000));
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Code::kOutOfRange);
  EXPECT_NE(refused.error().message().find("the header of a step"), std::string::npos) << refused.error().message();
  EXPECT_EQ(describe(next(scheduler)), "1@0+4*");
}

TEST(HeaderRoom, HistoriesAfterABreakAreSpreadOverSteps) {
  SchedulerOptions narrow = roomy(512);
  narrow.max_header_bytes = 64 * 1024;
  Scheduler scheduler(narrow);
  for (std::uint64_t id = 1; id < 9; ++id) {
    SequenceSpec spec = prompt(id, 4000);
    spec.params.repetition_penalty = 1.1f;  // its draws look at the tokens so far
    ASSERT_TRUE(scheduler.add(spec).has_value());
  }
  first_tokens(scheduler, 8);
  scheduler.suspend();
  scheduler.resume(StageSpan{});  // every stage has its rows, none its sequences
  std::map<std::uint64_t, int> decoded;
  for (int step = 0; step < 8; ++step) {
    const StepBatch batch = next(scheduler);
    std::size_t n_history = 0;
    for (const SequenceRows& slice : batch.slices) {
      n_history += slice.history.size();
      ++decoded[slice.sequence.value];
    }
    EXPECT_LE(5 * n_history, narrow.max_header_bytes);
    ASSERT_TRUE(scheduler.commit(answer(batch)).has_value());
  }
  EXPECT_EQ(decoded.size(), 8u) << "all go on";
}

TEST(HeaderRoom, TheLimitOfTheWireHoldsAThousandMaximalSequences) {
  SchedulerOptions most = options(4096, 4096);
  most.max_sequences = 1024;
  Scheduler scheduler(most);
  for (std::uint64_t id = 1; id <= 1024; ++id)
    ASSERT_TRUE(scheduler.add(with_lists(id, kMaxTokenList, static_cast<int>(id % 900))).has_value());
  std::size_t n_begun = 0, n_steps = 0;
  for (; n_begun < 1024; ++n_steps) {
    const StepBatch batch = next(scheduler);
    std::size_t n_ids = 0;
    for (const SequenceRows& slice : batch.slices) n_ids += slice.params ? slice.params->allowed.size() : 0;
    EXPECT_LE(5 * n_ids, kMaxStepHeaderBytes);
    n_begun += batch.slices.size();
  }
  EXPECT_LE(n_steps, 7u) << "and few steps are needed";
}

// Work that must not grow with what waits.

TEST(PrefixLookUps, AWaitingSequenceIsLookedUpOnce) {
  const auto n_lookups = [](int n_prompt) {
    SchedulerOptions tight = options(4096, blocks_for(n_prompt) + 40);
    Scheduler scheduler(tight);
    const SequenceSpec first = prompt(1, n_prompt, 4);
    EXPECT_TRUE(scheduler.add(first).has_value());
    first_tokens(scheduler, 1);
    EXPECT_TRUE(scheduler.add(prompt(2, 64 * 30, 100)).has_value());  // takes the room that the third would need
    SequenceSpec third = first;
    third.id = SequenceId(3);
    third.prompt.insert(third.prompt.end(), 64 * 20, TokenId(9));
    third.max_tokens = 10;
    EXPECT_TRUE(scheduler.add(third).has_value());
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(scheduler.commit(answer(next(scheduler))).has_value());
    const std::uint64_t before = scheduler.blocks().n_lookups();
    for (int i = 0; i < 20; ++i) {
      const StepBatch batch = next(scheduler);
      EXPECT_TRUE(scheduler.commit(answer(batch)).has_value());
    }
    EXPECT_FALSE(scheduler.is_running(SequenceId(3)));
    return scheduler.blocks().n_lookups() - before;
  };
  const std::uint64_t few = n_lookups(64 * 64);
  EXPECT_LE(few, 25u) << "one for each step that may have brought something new";
  EXPECT_LE(n_lookups(64 * 128), few + 2) << "twice the prompt, the same work";
}

/// A model with windows, whose pool holds a few.
SchedulerOptions windowed(std::int32_t n_blocks) {
  SchedulerOptions made = options(512, n_blocks);
  made.max_mixed_prefill_rows = 512;
  made.window = 128;
  made.n_window_blocks = 12;
  return made;
}

/// Answers steps until all that was asked for runs and only decodes.
void run_prompts(Scheduler& scheduler) {
  for (bool decodes = false; !decodes;) {
    const StepBatch batch = next(scheduler);
    ASSERT_TRUE(scheduler.commit(answer(batch)).has_value());
    decodes = batch.slices.size() == 1 && batch.slices.front().sample;
  }
}

TEST(Prefills, WaitingForBlocksLooksForWindowsOnlyWhereTheyChanged) {
  const auto n_lookups = [](int n_blocks) {
    const int n_prompt = n_blocks * kBlockPositions;
    Scheduler scheduler(windowed(n_blocks + 50));
    const SequenceSpec first = prompt(1, n_prompt, 1);
    EXPECT_TRUE(scheduler.add(first).has_value());
    run_prompts(scheduler);
    scheduler.remove(first.id);
    EXPECT_TRUE(scheduler.add(prompt(2, 39 * kBlockPositions, 200)).has_value());  // takes the windows of the first
    run_prompts(scheduler);
    SequenceSpec again = prompt(3, n_prompt + 30 * kBlockPositions);  // finds no room for its rows
    std::ranges::copy(first.prompt, again.prompt.begin());
    EXPECT_TRUE(scheduler.add(again).has_value());
    const auto lookups = [&] { return scheduler.windows().blocks().n_lookups(); };
    EXPECT_TRUE(scheduler.commit(answer(next(scheduler))).has_value());
    EXPECT_GE(lookups(), to_size(n_blocks)) << "once, all of them are looked for";
    const std::uint64_t before = lookups();
    for (int step = 0; step < 50; ++step) EXPECT_TRUE(scheduler.commit(answer(next(scheduler))).has_value());
    EXPECT_EQ(scheduler.n_waiting(), 1);
    return lookups() - before;
  };
  EXPECT_LE(n_lookups(64), 4u);
  EXPECT_LE(n_lookups(256), 4u) << "a longer prompt, the same work";
}

TEST(Prefills, OneWhoseWindowsAreGoneHasAllItsRowsLeft) {
  Scheduler scheduler(windowed(400));
  const SequenceSpec first = prompt(1, 700, 1);
  ASSERT_TRUE(scheduler.add(first).has_value());
  run_prompts(scheduler);
  scheduler.remove(first.id);
  ASSERT_TRUE(scheduler.add(prompt(2, 7000)).has_value());
  ASSERT_TRUE(scheduler.commit(answer(next(scheduler))).has_value());
  ASSERT_TRUE(scheduler.commit(answer(next(scheduler))).has_value());  // no window of the first is left
  ASSERT_TRUE(scheduler.add(prompt(3, 6000)).has_value());
  SequenceSpec again = first;
  again.id = SequenceId(4);
  ASSERT_TRUE(scheduler.add(again).has_value());
  const StepBatch batch = next(scheduler);
  for (const SequenceRows& rows : batch.slices) {
    EXPECT_NE(rows.sequence, again.id) << "with 700 rows left it does not pass the one before it: " << describe(batch);
  }
}

}  // namespace
}  // namespace commissure
