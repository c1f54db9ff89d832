#include "step/step_room.h"

#include <gtest/gtest.h>

#include "step/step_batch.h"

namespace commissure {
namespace {

SamplingParams with_lists(std::size_t n) {
  SamplingParams params;
  params.allowed.assign(n, TokenId(70'000));
  params.logit_bias = {{TokenId(1), 2.0f}};
  params.bad_sequences = {{TokenId(1), TokenId(2)}, {TokenId(3)}};
  return params;
}

TEST(StepRoom, GivesWhatItHasAndNoMore) {
  StepRoom room(16 * 1024);
  const SliceSize plain{.n_rows = 1};
  const std::size_t each = StepRoom::bytes_alone(plain);
  const std::size_t n_most = room.n_bytes() / each;
  for (std::size_t i = 0; i < n_most; ++i) {
    ASSERT_TRUE(room.fits(plain));
    room.take(plain);
  }
  EXPECT_FALSE(room.fits(plain));
  EXPECT_LT(room.n_bytes(), each);
}

TEST(StepRoom, EveryListAndTokenCounts) {
  const std::size_t none = StepRoom::bytes_alone({});
  for (const SliceSize& slice :
       {SliceSize{.n_rows = 9}, SliceSize{.n_targets = 9}, SliceSize{.n_blocks = 9}, SliceSize{.n_history = 9}}) {
    EXPECT_GE(StepRoom::bytes_alone(slice), none + 9 * 5);
  }
  for (auto list : {&SamplingParams::banned, &SamplingParams::allowed, &SamplingParams::end_tokens}) {
    SamplingParams params;
    (params.*list).assign(9, TokenId(1));
    EXPECT_EQ(n_list_entries(params), 9u);
    EXPECT_GE(StepRoom::bytes_alone({.params = &params}), none + 9 * 5);
  }
  SamplingParams params;
  params.dry.breakers.assign(9, TokenId(1));
  params.logit_bias.assign(9, {TokenId(1), 1.0f});
  params.bad_sequences.assign(9, {TokenId(1)});
  EXPECT_GE(n_list_entries(params), 9u + 2 * 9 + 2 * 9);
}

TEST(StepRoom, ListsLikeThoseBeforeCostNothing) {
  StepRoom room(64 * 1024);
  const SamplingParams first = with_lists(10'000), second = with_lists(10'000), other = with_lists(10'001);
  room.take({.n_rows = 1, .params = &first});
  EXPECT_TRUE(room.fits({.n_rows = 1, .params = &second}));
  EXPECT_FALSE(room.fits({.n_rows = 1, .params = &other}));
}

TEST(StepRoom, WhatTravelsOnceIsStillBoundedUnpacked) {
  StepRoom room;
  const SamplingParams params = with_lists(kMaxTokenList);
  const std::size_t n_most = kMaxStepListEntries / n_list_entries(params);
  for (std::size_t i = 0; i < n_most; ++i) room.take({.n_rows = 1, .params = &params});
  EXPECT_FALSE(room.fits({.n_rows = 1, .params = &params}));
  EXPECT_TRUE(room.fits({.n_rows = 1}));
}

TEST(StepRoom, CopiesEveryListAndNothingElse) {
  SamplingParams from = with_lists(5);
  from.banned = {TokenId(4)};
  from.end_tokens = {TokenId(5)};
  from.dry.breakers = {TokenId(6)};
  SamplingParams to;
  to.seed = 7;
  to.dry.multiplier = 0.5f;
  EXPECT_FALSE(same_lists(from, to));
  copy_lists(from, to);
  EXPECT_TRUE(same_lists(from, to));
  EXPECT_EQ(to.seed, 7u);
  EXPECT_EQ(to.dry.multiplier, 0.5f);
}

}  // namespace
}  // namespace commissure
