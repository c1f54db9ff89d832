#include "plan/split_plan.h"

#include <gtest/gtest.h>

#include "core/index.h"
#include "plan/planner.h"

namespace commissure {
namespace {

/// Layers of 1 kv head of 64: 16 KiB of keys and values in a block.
DecoderSpec spec_of(int n_layers, int n_context) {
  DecoderSpec spec;
  spec.n_context = n_context;
  spec.layers.resize(n_layers);
  for (LayerSpec& layer : spec.layers) layer.heads = {.n_heads = 4, .n_kv_heads = 1, .head_dim = 64};
  return spec;
}

TEST(ContextPlan, HoldsFourContextsByDefault) {
  const auto plan = plan_context(spec_of(4, 1000), {}, {});
  ASSERT_TRUE(plan.has_value());
  EXPECT_EQ(plan->context, 1000);
  EXPECT_EQ(plan->kv_tokens(), 4032);  // whole blocks
  EXPECT_EQ(plan_context(spec_of(4, 32768), {}, {})->context, 8192);
  EXPECT_EQ(plan_context(spec_of(4, 32768), {}, {.max_model_len = 16384})->context, 16384);
  EXPECT_EQ(plan_context(spec_of(4, 1000), {}, {.kv_tokens = 65})->kv_tokens(), 128);
}

TEST(ContextPlan, FitsTheMemoryOfTheStageWithMostLayers) {
  const DecoderSpec spec = spec_of(4, 1000);
  const ContextWish mebibyte = {.kv_memory = 1 << 20};
  EXPECT_EQ(plan_context(spec, {}, mebibyte)->kv_tokens(), 16 * 64);
  EXPECT_EQ(plan_context(spec, std::vector<int>{2}, mebibyte)->kv_tokens(), 32 * 64);
  EXPECT_EQ(plan_context(spec, std::vector<int>{1}, mebibyte)->kv_tokens(), 21 * 64);
}

TEST(ContextPlan, CountsCopiesOfKeysThatLayersOfAnotherStageRead) {
  DecoderSpec spec = spec_of(6, 1000);
  for (const std::size_t layer : {2, 3, 4, 5}) spec.layers[layer].kv_owner = layer % 2 == 0 ? 0 : 1;
  const ContextWish mebibyte = {.kv_memory = 1 << 20};
  EXPECT_EQ(plan_context(spec, {}, mebibyte)->kv_tokens(), 32 * 64) << "two layers of six have their own";
  // A block of one layer has 16 KiB, and as many again in the row log for each layer whose keys are handed on.
  EXPECT_EQ(plan_context(spec, std::vector<int>{2}, mebibyte)->kv_tokens(), 16 * 64) << "its own, and what it hands on";
  EXPECT_EQ(plan_context(spec, std::vector<int>{1, 5}, mebibyte)->kv_tokens(), 16 * 64) << "a copy beside its own";
  EXPECT_EQ(plan_context(spec, std::vector<int>{1, 2, 3, 4, 5}, mebibyte)->kv_tokens(), 21 * 64) << "one copy";
}

TEST(ContextPlan, KeepsRecurrentStatesOfAllSequencesBesideKeysAndValues) {
  DecoderSpec spec = spec_of(4, 1000);
  EXPECT_EQ(plan_context(spec, {}, {})->kv.n_states, 0);
  const DeltaShape delta = {.n_key_heads = 1, .n_value_heads = 2, .key_dim = 16, .value_dim = 16, .kernel = 4};
  for (const std::size_t layer : {0, 1, 2}) {
    spec.layers[layer].heads = {};
    spec.layers[layer].delta = delta;
  }
  const std::size_t one = (3 * 64 + 2 * 16 * 16) * sizeof(float);
  EXPECT_EQ(state_bytes(spec, {0, 4}), 3 * 2 * one) << "two places in three layers";
  const ContextWish wish = {.kv_memory = 1 << 20, .max_sequences = 10};
  const auto plan = plan_context(spec, {}, wish);
  ASSERT_TRUE(plan.has_value()) << plan.error().message();
  EXPECT_EQ(plan->kv.n_states, 10);
  EXPECT_EQ(plan->kv.n_blocks, ((1 << 20) - static_cast<int>(10 * 6 * one)) / 16384);
  EXPECT_EQ(plan_context(spec, std::vector<int>{2}, wish)->kv.n_blocks,
            ((1 << 20) - static_cast<int>(10 * 2 * one)) / 16384)
      << "the other stage has two layers' states, and no keys";

  const auto none = plan_context(spec, {}, {.kv_memory = 1 << 20, .max_sequences = 64});
  ASSERT_FALSE(none.has_value());
  EXPECT_NE(none.error().message().find("states of 64 sequences take 1081344"), std::string::npos)
      << none.error().message();
  EXPECT_NE(none.error().message().find("--max-num-seqs"), std::string::npos);
}

TEST(ContextPlan, CountsInt8KvWithItsScales) {
  DecoderSpec spec = spec_of(4, 1000);
  spec.kv_type = KvType::kInt8;
  EXPECT_EQ(plan_context(spec, {}, {.kv_memory = 1 << 20})->kv_tokens(),
            30 * 64);  // a block: 4 * 64 * 2 * (64 + 4) bytes
  for (const std::size_t layer : {0, 1, 2}) spec.layers[layer].window = 512;
  EXPECT_EQ(plan_context(spec, {}, {.kv_memory = 1 << 20})->kv.n_window_blocks, 30);
}

TEST(ContextPlan, GivesLayersWithAWindowWhatTheirWindowsSpan) {
  DecoderSpec spec = spec_of(4, 8192);
  for (const std::size_t layer : {0, 1, 2}) spec.layers[layer].window = 512;
  const auto plan = plan_context(spec, {}, {.max_sequences = 16});
  ASSERT_TRUE(plan.has_value());
  EXPECT_EQ(plan->kv.n_blocks, 512);
  EXPECT_EQ(plan->kv.n_window_blocks, 16 * 9 + 2 * 8);
  EXPECT_EQ(plan->kv.window, 512);
  EXPECT_EQ(plan_context(spec, {}, {.kv_tokens = 640})->kv.n_window_blocks, 10)
      << "never more than there are positions";
  // 160 blocks in three layers and as many as fit in the fourth.
  const auto fitted = plan_context(spec, {}, {.kv_memory = 16 << 20, .max_sequences = 16});
  EXPECT_EQ(fitted->kv.n_window_blocks, 160);
  EXPECT_EQ(fitted->kv.n_blocks, 1024 - 3 * 160);
  const auto tight = plan_context(spec, {}, {.kv_memory = 1 << 20});
  EXPECT_EQ(tight->kv.n_window_blocks, 16);
  EXPECT_EQ(tight->kv.n_blocks, 16);
}

TEST(ContextPlan, HoldsWhatThePlannerCounts) {
  DecoderSpec spec = spec_of(4, 32768);
  spec.layers[0].window = 512;
  for (const int context : {100, 4096, 32768}) {
    for (const int n_sequences : {1, 16, 64}) {
      for (const std::vector<int>& cuts : {std::vector<int>{}, {1}, {1, 2, 3}}) {
        const PlanWish wish{.context = context, .streams = 3, .sequences = n_sequences};
        const ContextWish told = {
            .max_model_len = context, .kv_tokens = 3 * std::int64_t{context}, .max_sequences = n_sequences};
        const auto plan = plan_context(spec, cuts, told);
        ASSERT_TRUE(plan.has_value());
        const int n_stages = count_of(cuts) + 1;
        EXPECT_EQ(held_positions({}, wish, n_stages), plan->kv_tokens());
        EXPECT_EQ(held_positions({.window = 512}, wish, n_stages), std::int64_t{plan->kv.n_window_blocks} * 64);
      }
    }
  }
}

TEST(ContextPlan, RefusesWhatHoldsNoBlockOrTooMany) {
  const auto small = plan_context(spec_of(4, 1000), {}, {.kv_memory = 65535});
  ASSERT_FALSE(small.has_value());
  EXPECT_NE(small.error().message().find("less than one block"), std::string::npos) << small.error().message();
  EXPECT_FALSE(plan_context(spec_of(4, 1000), {}, {.kv_tokens = std::int64_t{1} << 60}).has_value());
}

}  // namespace
}  // namespace commissure
