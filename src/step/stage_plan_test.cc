#include "step/stage_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "core/index.h"

namespace commissure {
namespace {

using Cuts = std::vector<int>;

std::uint64_t largest_stage(const std::vector<std::uint64_t>& layers, std::uint64_t first, std::uint64_t last,
                            const Cuts& cuts) {
  std::uint64_t largest = 0;
  std::uint64_t bytes = first;
  for (std::size_t layer = 0; layer < layers.size(); ++layer) {
    if (std::find(cuts.begin(), cuts.end(), static_cast<int>(layer)) != cuts.end()) {
      largest = std::max(largest, bytes);
      bytes = 0;
    }
    bytes += layers[layer];
  }
  return std::max(largest, bytes + last);
}

/// The smallest possible largest stage, by trying every split.
std::uint64_t try_all(const std::vector<std::uint64_t>& layers, std::uint64_t first, std::uint64_t last, int n_stages,
                      Cuts& cuts) {
  if (count_of(cuts) == n_stages - 1) return largest_stage(layers, first, last, cuts);
  std::uint64_t best = ~std::uint64_t{0};
  for (int cut = cuts.empty() ? 1 : cuts.back() + 1; cut < count_of(layers); ++cut) {
    cuts.push_back(cut);
    best = std::min(best, try_all(layers, first, last, n_stages, cuts));
    cuts.pop_back();
  }
  return best;
}

TEST(StagePlan, CoversTheModelWithoutGaps) {
  const auto plans = plan_stages(30, Cuts{10, 20});
  ASSERT_TRUE(plans.has_value());
  ASSERT_EQ(plans->size(), 3u);
  EXPECT_EQ((*plans)[0].layers, (LayerRange{0, 10}));
  EXPECT_EQ((*plans)[1].layers, (LayerRange{10, 20}));
  EXPECT_EQ((*plans)[2].layers, (LayerRange{20, 30}));
  EXPECT_TRUE(plans->front().is_first());
  EXPECT_TRUE(plans->back().is_last());
  EXPECT_EQ((*plans)[1].name(), "b");
}

TEST(StagePlan, NoCutsIsOneStage) {
  const auto plans = plan_stages(18, {});
  ASSERT_TRUE(plans.has_value());
  ASSERT_EQ(plans->size(), 1u);
  EXPECT_TRUE(plans->front().is_first() && plans->front().is_last());
}

TEST(StagePlan, RefusesCutsOutsideTheModelOrNotRising) {
  for (const Cuts& cuts : {Cuts{0}, Cuts{30}, Cuts{-1}, Cuts{10, 10}, Cuts{20, 10}, Cuts{10, 31}}) {
    const auto plans = plan_stages(30, cuts);
    ASSERT_FALSE(plans.has_value());
    EXPECT_EQ(plans.error().code(), Code::kInvalidArgument);
    EXPECT_NE(plans.error().message().find("cut "), std::string::npos);
  }
  EXPECT_FALSE(plan_stages(0, {}).has_value());
  Cuts many(26);
  for (int i = 0; i < 26; ++i) many[i] = i + 1;
  EXPECT_FALSE(plan_stages(100, many).has_value());
  many.pop_back();
  EXPECT_TRUE(plan_stages(100, many).has_value());
}

TEST(BalanceCuts, SpreadsEqualLayersEvenly) {
  const std::vector<std::uint64_t> layers(30, 7);
  EXPECT_EQ(*balance_cuts(layers, 0, 0, 3), (Cuts{10, 20}));
  const Cuts cuts = *balance_cuts(layers, 0, 0, 4);
  EXPECT_EQ(largest_stage(layers, 0, 0, cuts), 8u * 7u);
  for (std::size_t i = 0; i <= cuts.size(); ++i) {
    const int size = (i < cuts.size() ? cuts[i] : 30) - (i > 0 ? cuts[i - 1] : 0);
    EXPECT_GE(size, 7);
  }
}

TEST(BalanceCuts, CountsEmbeddingAndHeadAsLayers) {
  const std::vector<std::uint64_t> layers(12, 10);
  const Cuts cuts = *balance_cuts(layers, 40, 20, 3);
  EXPECT_EQ(largest_stage(layers, 40, 20, cuts), 60u);
  EXPECT_EQ(cuts.front(), 2);
}

TEST(BalanceCuts, IsTheExactOptimumOnRandomModels) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::uint64_t> layers(1 + random() % 9);
    for (auto& bytes : layers) bytes = random() % 50;
    const std::uint64_t first = random() % 100;
    const std::uint64_t last = random() % 100;
    const int n_stages = 1 + static_cast<int>(random() % layers.size());
    const auto cuts = balance_cuts(layers, first, last, n_stages);
    ASSERT_TRUE(cuts.has_value());
    ASSERT_TRUE(plan_stages(count_of(layers), *cuts).has_value());
    Cuts scratch;
    EXPECT_EQ(largest_stage(layers, first, last, *cuts), try_all(layers, first, last, n_stages, scratch));
  }
}

TEST(BalanceCuts, RefusesMoreStagesThanLayers) {
  const std::vector<std::uint64_t> layers(4, 1);
  EXPECT_FALSE(balance_cuts(layers, 0, 0, 5).has_value());
  EXPECT_FALSE(balance_cuts(layers, 0, 0, 0).has_value());
  EXPECT_FALSE(balance_cuts(std::vector<std::uint64_t>(100, 1), 0, 0, 27).has_value());
  EXPECT_EQ(*balance_cuts(layers, 0, 0, 4), (Cuts{1, 2, 3}));
}

TEST(BalanceCuts, SurvivesSizesThatWouldOverflow) {
  const std::vector<std::uint64_t> layers(4, ~std::uint64_t{0} / 2);
  const auto cuts = balance_cuts(layers, ~std::uint64_t{0}, ~std::uint64_t{0}, 3);
  ASSERT_TRUE(cuts.has_value());
  EXPECT_TRUE(plan_stages(4, *cuts).has_value());
}

TEST(ParseCuts, ReadsNumbersAndNamesTheBadPart) {
  EXPECT_EQ(*parse_cuts("10,20"), (Cuts{10, 20}));
  EXPECT_EQ(*parse_cuts(""), Cuts{});
  EXPECT_EQ(*parse_cuts("7"), Cuts{7});
  for (const char* bad : {"10,", ",10", "a", "10;20", "10, 20", "-1", "0", "99999999999", "1.5"}) {
    const auto cuts = parse_cuts(bad);
    ASSERT_FALSE(cuts.has_value()) << bad;
    EXPECT_NE(cuts.error().message().find('\''), std::string::npos);
  }
}

}  // namespace
}  // namespace commissure
