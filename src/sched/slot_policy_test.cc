#include "sched/slot_policy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <deque>

#include "support/scheduler_test_support.h"

namespace commissure {
namespace {

using std::chrono::microseconds;

/// Stages whose step of n rows takes `fixed_us` + n x `row_us` each, joined by wires of `wire_us` in all.
struct Chain {
  int n_stages = 3;
  double fixed_us = 1000;
  double row_us = 100;
  double wire_us = 0;
  int n_cores = 100;  ///< of all stages together: with more slots than that each stage's work takes longer
  int n_slots = 1;    ///< in use

  double stage_us(int n_rows) const {
    return std::max(1.0, std::min(n_slots, n_stages) / static_cast<double>(n_cores)) * (fixed_us + n_rows * row_us);
  }
  std::vector<StageTiming> timings(int n_rows) const {
    const auto us = static_cast<std::uint32_t>(stage_us(n_rows));
    std::vector<StageTiming> made;
    for (int i = 0; i < n_stages; ++i) made.push_back({std::string(1, static_cast<char>('a' + i)), 50, us, 0, {}});
    return made;
  }
  microseconds took(int n_rows) const {
    return microseconds(static_cast<int>(n_stages * (50 + stage_us(n_rows)) + wire_us));
  }
  /// What `streams` reach over `slots`, per us: the way round, or the cores' or the slowest stage's work for all slots.
  double throughput(int streams, int slots) const {
    const double work_us = fixed_us + std::ceil(streams / static_cast<double>(slots)) * row_us;
    const double busy_us = slots * work_us * std::max(1.0, n_stages / static_cast<double>(n_cores));
    return streams / std::max(n_stages * work_us + wire_us, busy_us);
  }
};

/// Loads of 1, 2, 4 ... `n` streams, one after the other.
int settle(SlotPolicy& policy, Chain chain, int n) {
  for (int streams = 1; streams <= n; streams *= 2) {
    for (int i = 0; i < 3 * SlotPolicy::kPatience; ++i) {
      chain.n_slots = std::min(policy.slots(), streams);
      const int n_rows = (streams + chain.n_slots - 1) / chain.n_slots;
      policy.on_step(streams, n_rows, chain.took(n_rows), chain.timings(n_rows));
    }
  }
  return policy.slots();
}

int settled(const SlotLimits& limits, const Chain& chain, int n = 16) {
  SlotPolicy policy(limits);
  return settle(policy, chain, n);
}

TEST(SlotPolicy, StaysAsGivenWithoutRoomOrTimes) {
  EXPECT_EQ(settled({3, 3, true}, {}), 3);
  EXPECT_EQ(settled({3, 0, true}, {}), 3);
  SlotPolicy policy({2, 8, false});
  for (int i = 0; i < 100; ++i) policy.on_step(8, 4, microseconds(9000), {});
  EXPECT_EQ(policy.slots(), 2);
}

TEST(SlotPolicy, StagesOfTheirOwnGetOneSlotEachAndMoreTheLongerTheWires) {
  const SlotLimits limits{4, 8, false};
  EXPECT_EQ(settled(limits, {.wire_us = 0}), 3);
  EXPECT_EQ(settled(limits, {.wire_us = 1500}), 4) << "N + 1: the wires take as long as another stage";
  EXPECT_GT(settled(limits, {.row_us = 1000, .wire_us = 20'000}), 4);
}

TEST(SlotPolicy, StagesThatShareCoresGetASecondSlotOnlyForLongWires) {
  const SlotLimits limits{1, 2, true};
  EXPECT_EQ(settled(limits, {.wire_us = 500}), 1);
  EXPECT_EQ(settled(limits, {.row_us = 500, .wire_us = 20'000}), 2);
}

TEST(SlotPolicy, StagesThatShareCoresUnknownLoseAtMostWhatCountsAsUnclear) {
  for (const int n_cores : {1, 2}) {
    for (const double row_us : {20.0, 100.0, 1000.0}) {
      for (const double wire_us : {0.0, 3000.0, 20'000.0, 100'000.0}) {
        const Chain chain{.row_us = row_us, .wire_us = wire_us, .n_cores = n_cores};
        const int slots = settled({4, 8, false}, chain, 32);
        EXPECT_GE(chain.throughput(32, slots), SlotPolicy::kClearGain * chain.throughput(32, 4))
            << slots << " slots, " << n_cores << " cores, " << row_us << " us a row, wires of " << wire_us << " us";
      }
    }
  }
}

TEST(SlotPolicy, FewStreamsDoNotLowerTheNumber) {
  SlotPolicy policy({4, 8, false});
  const Chain chain{.wire_us = 1500};
  EXPECT_EQ(settle(policy, chain, 16), 4);
  for (int i = 0; i < 200; ++i) policy.on_step(1, 1, chain.took(1), chain.timings(1));
  EXPECT_EQ(policy.slots(), 4);
}

TEST(SlotPolicy, NoiseChangesNothing) {
  SlotPolicy policy({4, 8, false});
  Chain chain{.wire_us = 1500};
  settle(policy, chain, 16);
  for (int i = 0; i < 1000; ++i) {
    chain.wire_us = i % 7 == 0 ? 30'000 : 900;
    policy.on_step(16, 4, chain.took(4), chain.timings(4));
    ASSERT_EQ(policy.slots(), 4) << i;
  }
}

TEST(Scheduler, DecodesThatPartedMeetAgainWhenSlotsBecomeFewer) {
  SchedulerOptions made = options(64, 64, 2);
  made.max_decode_slots = 3;
  Scheduler scheduler(made);
  const Chain chain{.n_stages = 1};
  std::deque<StepBatch> in_flight;
  ASSERT_TRUE(scheduler.add(sequence(1, 1, 500)).has_value());
  for (int i = 0; i < 200; ++i) {
    if (i == 4) {
      for (const std::uint64_t id : {2u, 3u, 4u}) ASSERT_TRUE(scheduler.add(sequence(id, 1, 500)).has_value());
    }
    while (in_flight.size() < 2) {
      std::optional<StepBatch> batch = scheduler.next_step();
      if (!batch) break;
      in_flight.push_back(std::move(*batch));
    }
    const int n_rows = in_flight.front().n_rows();
    SampledTokens tokens = answer(in_flight.front());
    tokens.timings = chain.timings(n_rows);
    ASSERT_TRUE(scheduler.commit(tokens, chain.took(n_rows)).has_value());
    in_flight.pop_front();
  }
  EXPECT_EQ(scheduler.decode_slots(), 1) << "one stage has no use for two";
  EXPECT_EQ(next(scheduler).n_rows(), 4);
}

}  // namespace
}  // namespace commissure
