#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/quant.h"
#include "model/quantise_at_load.h"
#include "model/role_names.h"
#include "model/tensor_names.h"
#include "support/family_model.h"
#include "support/stage_fixture.h"

// What Qwen 3.5 has beyond other families, recurrent states, keeps the rules that hold for all: a row depends on no
// neighbour, any cut and any chunk gives the same bits, and a step that comes again changes nothing.

namespace commissure::testing {
namespace {

const FamilyCase& case_of(std::string_view name) {
  static const auto cases = family_cases(std::string(COMMISSURE_SOURCE_DIR) + "/tests/golden/families");
  const auto found = std::ranges::find(cases, name, &FamilyCase::name);
  CHECK(found != cases.end());
  return *found;
}

/// Rows [first, end) of the case's text as sequence `id`, each to be scored, with the whole table.
SequenceRows rows(const FamilyCase& family, std::uint64_t id, int first, int end) {
  SequenceRows slice = rows_of(id, 0, {family.ids.begin(), family.ids.begin() + end}, static_cast<int>(3 * (id - 1)));
  slice.first_position = first;
  slice.tokens.erase(slice.tokens.begin(), slice.tokens.begin() + first);
  slice.params = SamplingParams{.n_logprobs = 3, .banned = {}};
  for (int i = first; i < end; ++i) slice.targets.push_back(TokenId(family.ids[to_size(i + 1)]));
  return slice;
}

using Scores = std::vector<ScoredToken>;

std::vector<Scores> step(Chain& chain, std::vector<SequenceRows> slices, std::vector<SequenceId> released = {}) {
  const auto result = chain.step({.step = {}, .slices = std::move(slices), .released = std::move(released)});
  EXPECT_TRUE(result.has_value()) << (result ? "" : result.error().message());
  std::vector<Scores> scored;
  if (!result) return scored;
  for (const auto& sequence : result->results) scored.push_back(sequence.scored);
  return scored;
}

class Qwen35Stages : public ::testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Chain> chain(const FamilyCase& family, const std::vector<int>& cuts, std::int32_t n_states = 4) {
    folders_.emplace_back();
    write_family_safetensors(family, folders_.back());
    const StageOptions options = {.model_name = "toy", .max_rows = 300, .n_kv_blocks = 12, .n_states = n_states};
    return std::make_unique<Chain>(*backend_, folders_.back().path(), cuts, options);
  }

  std::deque<TempFolder> folders_;
  const std::unique_ptr<Backend> backend_ = cpu_backend(GetParam(), 2);
};

TEST_P(Qwen35Stages, ARowDoesNotDependOnItsNeighbours) {
  for (const char* name : {"qwen35", "qwen35-moe"}) {
    const FamilyCase& family = case_of(name);
    for (const std::vector<int>& cuts : {std::vector<int>{}, {1, 3}, {1, 2, 3}}) {
      SCOPED_TRACE(std::string(name) + ", " + std::to_string(cuts.size() + 1) + " stages");
      const auto alone = step(*chain(family, cuts), {rows(family, 1, 0, 120)});
      ASSERT_EQ(alone.size(), 1u);
      const auto together = chain(family, cuts);
      Scores chunks;
      // Chunks, single rows and others that begin, go on and end beside them.
      for (int first = 0, i = 0; first < 120; ++i) {
        const int end = std::min(120, first + std::array{31, 1, 1, 50}[to_size(i % 4)]);
        std::vector<SequenceRows> slices = {rows(family, 1, first, end)};
        if (i < 2) slices.insert(slices.begin(), rows(family, 2, 20 * i, 20 * i + 20));
        if (i == 3) slices.push_back(rows(family, 3, 0, 100));
        const auto scored = step(*together, slices, i == 3 ? std::vector{SequenceId(2)} : std::vector<SequenceId>());
        ASSERT_EQ(scored.size(), slices.size());
        const Scores& own = scored[i < 2 ? 1 : 0];
        chunks.insert(chunks.end(), own.begin(), own.end());
        if (i == 3) {
          EXPECT_TRUE(std::ranges::equal(scored[1], std::span(alone[0]).first(100)));
        }
        first = end;
      }
      EXPECT_EQ(chunks, alone[0]);
    }
  }
}

TEST_P(Qwen35Stages, RowsThatSeeEachOtherAreRefused) {
  const FamilyCase& family = case_of("qwen35");
  const auto stages = chain(family, {1});
  SequenceRows slice = rows(family, 1, 0, 60);
  slice.images = {{10, 20, true, random_image(20, family.config["hidden_size"].get<int>(), 1)}};
  const auto result = stages->step({.step = {}, .slices = {slice}, .released = {}});
  ASSERT_FALSE(result.has_value());
  EXPECT_NE(result.error().message().find("recurrent layers"), std::string::npos) << result.error().message();
  EXPECT_EQ(step(*stages, {rows(family, 1, 0, 60)}).size(), 1u);
}

TEST_P(Qwen35Stages, AStepThatComesAgainChangesNothing) {
  const FamilyCase& family = case_of("qwen35");
  for (const std::vector<int>& cuts : {std::vector<int>{}, {2}}) {
    const auto expected = step(*chain(family, cuts), {rows(family, 1, 0, 120)});
    ASSERT_EQ(expected.size(), 1u);
    const auto stages = chain(family, cuts);
    step(*stages, {rows(family, 1, 0, 70)});
    const auto once = step(*stages, {rows(family, 1, 70, 90)});
    EXPECT_EQ(step(*stages, {rows(family, 1, 70, 90)}), once);
    EXPECT_EQ(step(*stages, {rows(family, 1, 70, 75)}).at(0).size(), 5u) << "or a part of it";
    const auto rest = step(*stages, {rows(family, 1, 75, 120)});
    ASSERT_EQ(rest.size(), 1u);
    EXPECT_TRUE(std::ranges::equal(rest[0], std::span(expected[0]).subspan(75)));
    // The state behind 75 rows and that behind 120 are here; no other place to go on from.
    const auto refused = stages->step({.step = {}, .slices = {rows(family, 1, 90, 95)}, .released = {}});
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code(), Code::kDataLoss);
    EXPECT_NE(refused.error().message().find("behind 120 and 75 rows"), std::string::npos) << refused.error().message();
  }
}

TEST_P(Qwen35Stages, ASequenceThatBeginsAgainHasNoPast) {
  const FamilyCase& family = case_of("qwen35");
  const auto stages = chain(family, {1}, 1);
  const auto first = step(*stages, {rows(family, 1, 0, 80)});
  step(*stages, {rows(family, 1, 80, 81)});
  EXPECT_EQ(step(*stages, {rows(family, 1, 0, 80)}), first) << "preempted, and computed from the log";
  EXPECT_EQ(step(*stages, {rows(family, 2, 0, 80)}, {SequenceId(1)}), first) << "in the places of another";
}

TEST_P(Qwen35Stages, MoreSequencesThanThereIsRoomForAreRefused) {
  const FamilyCase& family = case_of("qwen35");
  const auto stages = chain(family, {}, 2);
  const auto refused = stages->step(
      {.step = {}, .slices = {rows(family, 1, 0, 3), rows(family, 2, 0, 3), rows(family, 3, 0, 3)}, .released = {}});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Code::kResourceExhausted);
  EXPECT_NE(refused.error().message().find("--max-num-seqs"), std::string::npos);
}

TEST(Qwen35Quantised, WhatSaysHowFastAStateFadesStaysAsStored) {
  TempFolder folder;
  write_family_safetensors(case_of("qwen35"), folder);
  const auto checkpoint = open_checkpoint(folder.path());
  const auto spec = read_decoder_spec(*checkpoint);
  ASSERT_TRUE(spec.has_value());
  ASSERT_TRUE(quantise_at_load(*checkpoint, *spec, {0, spec->n_layers(), true, true}, *parse_quant("int8")));
  const auto dtype = [&](TensorRole role) { return checkpoint->find(layer_tensor_name(*spec, role, 0))->dtype; };
  EXPECT_EQ(dtype(TensorRole::kDeltaChannels), DType::kQ8_0);
  EXPECT_FALSE(is_quantised(dtype(TensorRole::kDeltaDecay)));
  EXPECT_FALSE(is_quantised(dtype(TensorRole::kDeltaBeta)));
}

INSTANTIATE_TEST_SUITE_P(Isas, Qwen35Stages, ::testing::ValuesIn(available_isas()),
                         [](const auto& made) { return made.param; });

}  // namespace
}  // namespace commissure::testing
