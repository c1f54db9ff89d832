#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include <fmt/format.h>

#include "sched/scheduler.h"

namespace commissure {

inline SequenceSpec sequence(std::uint64_t id, int n_prompt, int max_tokens = 8) {
  SequenceSpec spec;
  spec.id = SequenceId(id);
  for (int i = 0; i < n_prompt; ++i) spec.prompt.emplace_back(static_cast<int>(id) * 10 + i % 10);
  spec.max_tokens = max_tokens;
  return spec;
}

inline SchedulerOptions options(int max_rows, std::int32_t n_blocks, int decode_slots = 1) {
  SchedulerOptions made;
  made.max_sequences = 8;
  made.max_step_rows = max_rows;
  made.decode_slots = decode_slots;
  made.n_kv_blocks = n_blocks;
  made.n_vocabulary = 1000;
  return made;
}

/// "seq@first+rows" per slice, "*" where it samples.
inline std::string describe(const std::optional<StepBatch>& batch) {
  if (!batch) return "none";
  std::string text;
  for (const SequenceRows& slice : batch->slices) {
    text += fmt::format("{}{}@{}+{}{}", text.empty() ? "" : " ", slice.sequence.value, slice.first_position,
                        slice.n_rows(), slice.sample ? "*" : "");
  }
  return text;
}

inline SampledTokens answer(const StepBatch& batch, int token = 7) {
  SampledTokens tokens;
  tokens.step = batch.step;
  for (const SequenceRows& slice : batch.slices) {
    SequenceResult& result = tokens.results.emplace_back();
    result.sequence = slice.sequence;
    if (slice.sample) result.sampled = ScoredToken{{TokenId(token), -1.0f}, {}};
    for (const TokenId target : slice.targets) result.scored.push_back({{target, -2.0f}, {}});
  }
  return tokens;
}

inline StepBatch next(Scheduler& scheduler) {
  std::optional<StepBatch> batch = scheduler.next_step();
  EXPECT_TRUE(batch.has_value());
  if (!batch) return {};
  EXPECT_TRUE(validate(*batch).has_value());
  return *batch;
}

}  // namespace commissure
