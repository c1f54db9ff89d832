#include "plan/planner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>

#include "core/index.h"

namespace commissure {
namespace {

Machine make_machine(const std::string& name, double gb, double gb_s, double usd) {
  Machine machine;
  machine.name = name;
  machine.usable_bytes = gb * 1e9;
  machine.bytes_per_second = gb_s * 1e9;
  machine.ops_per_second = 1e15;
  machine.usd_per_hour = usd;
  return machine;
}

Catalogue no_hops() {
  Catalogue catalogue;
  catalogue.source_bytes_per_second = 1e9;
  return catalogue;
}

ModelFootprint random_model(std::mt19937& random, int n_layers) {
  std::uniform_real_distribution<double> gb(0.5, 4.0);
  ModelFootprint model;
  model.name = "random";
  for (int i = 0; i < n_layers; ++i) {
    LayerFootprint layer;
    layer.weight_bytes = gb(random) * 1e9;
    layer.parameters = layer.weight_bytes / 2;
    layer.kv_position_bytes = 1000;
    layer.window = i % 3 == 0 ? 0 : 512;
    model.layers.push_back(layer);
  }
  model.embedding_bytes = model.head_bytes = 1e9;
  model.head_parameters = 0.5e9;
  model.tied = random() % 2 == 0;
  model.boundary_row_bytes = 40'000;
  return model;
}

/// Every chain of every length, one by one: the cheapest that holds all and is fast enough; nothing when none is.
std::optional<double> cheapest_by_force(const ModelFootprint& model, const std::vector<const Machine*>& machines,
                                        const Catalogue& catalogue, const PlanWish& wish) {
  std::optional<double> best;
  const int n_layers = count_of(model.layers);
  std::vector<std::pair<int, const Machine*>> chain;  // end, machine
  const std::function<void(int, int)> grow = [&](int begin, int left) {
    if (left == 0 && begin == n_layers) {
      std::vector<PlannedStage> stages;
      int first = 0;
      for (const auto& [end, machine] : chain) {
        stages.push_back(plan_stage(model, {first, end}, *machine, wish, count_of(chain)));
        first = end;
        const PlannedStage& stage = stages.back();
        if (!stage.fits(wish.margin)) return;
      }
      const ChainPlan plan = total_chain(model, stages, catalogue, wish);
      if (plan.tokens_per_second < wish.tokens_per_second * (1 - 1e-12)) return;
      if (wish.first_token_seconds > 0 && plan.first_token_seconds > wish.first_token_seconds) return;
      if (!best || plan.usd_per_hour < *best) best = plan.usd_per_hour;
    }
    if (left == 0) return;
    for (int end = begin + 1; end <= n_layers; ++end) {
      for (const Machine* machine : machines) {
        chain.emplace_back(end, machine);
        grow(end, left - 1);
        chain.pop_back();
      }
    }
  };
  for (int n_stages = 1; n_stages <= wish.max_stages; ++n_stages) grow(0, n_stages);
  return best;
}

TEST(Planner, FindsWhatTryingEveryChainFinds) {
  std::mt19937 random(7);
  Machine small = make_machine("small", 6, 300, 1.0), large = make_machine("large", 16, 900, 3.1),
          odd = make_machine("odd", 9, 200, 1.3);
  small.ops_per_second = 40e12, large.ops_per_second = 300e12, odd.ops_per_second = 90e12;
  const std::vector<const Machine*> machines = {&small, &large, &odd};
  int n_found = 0, n_soon = 0;
  for (int round = 0; round < 120; ++round) {
    const ModelFootprint model = random_model(random, 3 + round % 4);
    Catalogue catalogue = no_hops();
    catalogue.hop_seconds = round % 2 == 0 ? 0 : 0.002;
    PlanWish wish{.context = 4096, .streams = 1 + round % 5, .max_stages = 4};
    if (round % 3 > 0) wish.tokens_per_second = std::uniform_real_distribution<double>(5, 60)(random);
    if (round % 4 > 1) wish.first_token_seconds = std::uniform_real_distribution<double>(0.05, 0.4)(random);
    wish.prompt = 300 << round % 4;
    const auto plan = plan_chain(model, machines, catalogue, wish);
    const auto expected = cheapest_by_force(model, machines, catalogue, wish);
    ASSERT_EQ(plan.has_value(), expected.has_value()) << "round " << round;
    if (!plan) continue;
    ++n_found;
    EXPECT_NEAR(plan->usd_per_hour, *expected, 1e-6) << "round " << round;
    EXPECT_GE(plan->tokens_per_second, wish.tokens_per_second * (1 - 1e-9));
    if (wish.first_token_seconds > 0) {
      ++n_soon;
      EXPECT_LE(plan->first_token_seconds, wish.first_token_seconds * (1 + 1e-9));
    }
    EXPECT_EQ(plan->stages.front().layers.first, 0);
    EXPECT_EQ(plan->stages.back().layers.last, count_of(model.layers));
  }
  EXPECT_GT(n_found, 20);
  EXPECT_GT(n_soon, 10);
}

/// Gemma 3 27B in bf16: 62 layers of 413 M parameters, 1.41 G in the tied embedding; 8 KiB of KV per layer and
/// position.
ModelFootprint gemma_27b() {
  ModelFootprint model;
  model.name = "gemma-3-27b";
  for (int i = 0; i < 62; ++i) {
    model.layers.push_back({.weight_bytes = 2 * 412.9e6,
                            .parameters = 412.9e6,
                            .kv_position_bytes = 8192,
                            .window = (i + 1) % 6 == 0 ? 0 : 1024});
  }
  model.head_parameters = 1.409e9;
  model.embedding_bytes = model.head_bytes = 2 * 1.409e9;
  model.tied = true;
  model.scratch_bytes = 0.3e9;
  return model;
}

TEST(Planner, Gemma27BFitsThreeL4OrTwoWithEightBitsOrOneRtx) {
  const Catalogue catalogue = parse_catalogue(built_in_catalogue()).value();
  const auto on = [&](const std::string& name) {
    return std::vector<const Machine*>{&*std::ranges::find(catalogue.machines, name, &Machine::name)};
  };
  const PlanWish wish{.context = 4096};
  const ChainPlan l4 = plan_chain(gemma_27b(), on("l4"), catalogue, wish).value();
  ASSERT_EQ(l4.stages.size(), 3u);
  for (const PlannedStage& stage : l4.stages) {
    EXPECT_LE(stage.weight_bytes + stage.kv_bytes + stage.scratch_bytes, 0.95 * 23e9);
  }
  // The last stage holds the head, so it has fewer layers than the one before it.
  EXPECT_LT(l4.stages[2].layers.n_layers(), l4.stages[1].layers.n_layers());
  EXPECT_NEAR(l4.single_stream, 4.6, 0.5);  // 54 GB at 255 GB/s
  // What people write by hand fits as well.
  for (const LayerRange& layers : {LayerRange{0, 20}, LayerRange{20, 44}, LayerRange{44, 62}}) {
    const PlannedStage stage = plan_stage(gemma_27b(), layers, *on("l4")[0], wish, 3);
    EXPECT_LE(stage.weight_bytes + stage.kv_bytes + stage.scratch_bytes, 23e9);
  }
  EXPECT_EQ(plan_chain(requantised(gemma_27b(), "Q8_0", 8.5), on("l4"), catalogue, wish)->stages.size(), 2u);
  EXPECT_EQ(plan_chain(gemma_27b(), on("rtx-pro-6000"), catalogue, wish)->stages.size(), 1u);
}

TEST(Planner, LayersWithAWindowHoldWhatTheirWindowsSpan) {
  const LayerFootprint all{}, windowed{.window = 1024};
  PlanWish wish{.context = 32768, .streams = 4, .sequences = 16};
  EXPECT_EQ(held_positions(all, wish, 3), 4 * 32768);
  EXPECT_EQ(held_positions(windowed, wish, 3), 64 * (16 * 17 + 4 * 8)) << "windows, and four chunks of 512 in flight";
  EXPECT_EQ(held_positions(windowed, wish, 1), 64 * (16 * 17 + 2 * 8));
  wish.context = 1000;
  EXPECT_EQ(held_positions(windowed, wish, 3), 64 * 63) << "never more than all contexts, in whole blocks";
}

TEST(Planner, TheImageEncoderTakesHostMemoryOfTheFirstStage) {
  ModelFootprint model;
  model.image_encoder_bytes = 1e9;
  for (int i = 0; i < 4; ++i) model.layers.push_back({.weight_bytes = 1e9, .parameters = 0.5e9});
  Machine machine = make_machine("m", 4.2, 100, 1);
  EXPECT_EQ(plan_stage(model, {0, 2}, machine, {}, 2).needed_bytes(), 3e9);
  EXPECT_EQ(plan_stage(model, {2, 4}, machine, {}, 2).needed_bytes(), 2e9) << "images are stage A's";
  EXPECT_FALSE(plan_stage(model, {0, 4}, machine, {}, 1).fits(0)) << "5 GB";
  machine.gpu = "nvidia";
  machine.memory_gib = 0.5;
  const PlannedStage on_gpu = plan_stage(model, {0, 2}, machine, {}, 2);
  EXPECT_EQ(on_gpu.needed_bytes(), 2e9) << "the encoder computes on the CPU";
  EXPECT_FALSE(on_gpu.fits(0)) << "beside half a GiB of host memory";
}

TEST(Planner, RowsHandedOnTakeHostMemory) {
  ModelFootprint model;
  model.name = "m";
  model.boundary_row_bytes = 1e6;
  for (int i = 0; i < 4; ++i) model.layers.push_back({.weight_bytes = 1e9, .parameters = 0.5e9});
  const PlanWish wish{.context = 1000, .streams = 2};
  const double log_bytes = 2048 * 1e6;  // in whole blocks
  Machine machine = make_machine("m", 5, 100, 1);
  machine.memory_gib = 2;
  const PlannedStage on_cpu = plan_stage(model, {0, 2}, machine, wish, 2);
  EXPECT_EQ(on_cpu.row_log_bytes, log_bytes);
  EXPECT_EQ(on_cpu.needed_bytes(), 2e9 + log_bytes);
  EXPECT_TRUE(on_cpu.fits(0.05));
  machine.usable_bytes = 4.2e9;
  EXPECT_FALSE(on_cpu.fits(0.05)) << "its memory has to hold them";
  EXPECT_EQ(plan_stage(model, {2, 4}, machine, wish, 2).row_log_bytes, 0) << "the last stage hands nothing on";
  EXPECT_EQ(plan_stage(model, {0, 4}, machine, wish, 1).row_log_bytes, 0);

  machine.gpu = "nvidia";
  const PlannedStage on_gpu = plan_stage(model, {0, 2}, machine, wish, 2);
  EXPECT_EQ(on_gpu.needed_bytes(), 2e9) << "the GPU's memory has nothing of them";
  EXPECT_FALSE(on_gpu.fits(0.05)) << "2 GiB of host memory less the margin";
  EXPECT_TRUE(on_gpu.fits(0.04));
}

TEST(Planner, SpeedCountsTheExpertsThatRowsTakeMemoryAll) {
  const LayerFootprint layer = {
      .weight_bytes = 10e9, .parameters = 5e9, .expert_bytes = 8e9, .expert_parameters = 4e9, .used_share = 0.25};
  EXPECT_DOUBLE_EQ(layer.read_bytes(layer.unread_experts(1)), 2e9 + 8e9 / 4);
  EXPECT_DOUBLE_EQ(layer.read_bytes(layer.unread_experts(2)), 2e9 + 8e9 * (1 - 0.75 * 0.75))
      << "two rows share some experts";
  EXPECT_NEAR(layer.read_bytes(layer.unread_experts(512)), 10e9, 1);
  EXPECT_DOUBLE_EQ(layer.row_parameters(), 1e9 + 4e9 / 4);
  ModelFootprint model;
  model.name = "m";
  model.layers = {layer, layer};
  Machine machine = make_machine("m", 100, 100, 1);
  const PlannedStage stage = plan_stage(model, {0, 2}, machine, {}, 1);
  EXPECT_EQ(stage.weight_bytes, 20e9);
  EXPECT_DOUBLE_EQ(stage.step_seconds, 8e9 / machine.bytes_per_second);
  EXPECT_DOUBLE_EQ(stage.chunk_seconds,
                   std::max(20e9 / machine.bytes_per_second, 2 * 4e9 * 512 / machine.ops_per_second));
  const ModelFootprint smaller = requantised(model, "Q8_0", 8);
  EXPECT_EQ(smaller.layers[0].weight_bytes, 5e9);
  EXPECT_EQ(smaller.layers[0].expert_bytes, 4e9);
}

TEST(Planner, QuantisedLayersAreSmallerWithTheirExperts) {
  ModelFootprint model;
  model.layers.push_back(
      {.weight_bytes = 10e9, .parameters = 5e9, .expert_bytes = 8e9, .expert_parameters = 4e9, .used_share = 0.125});
  model.layers.push_back({.weight_bytes = 10e9, .parameters = 5e9});
  model.embedding_bytes = model.head_bytes = 2e9;
  model.head_parameters = 1e9;
  const ModelFootprint first = with_quantised(model, {0, 1}, 4, true);
  EXPECT_EQ(first.layers[0].weight_bytes, 2.5e9);
  EXPECT_EQ(first.layers[0].expert_bytes, 2e9);
  EXPECT_GT(first.layers[0].read_bytes(first.layers[0].unread_experts(1)), 0);
  EXPECT_EQ(first.layers[1].weight_bytes, 10e9);
  EXPECT_EQ(first.head_bytes, 2e9) << "another stage's";
  EXPECT_EQ(first.embedding_bytes, 2e9);
  model.tied = true;
  EXPECT_EQ(with_quantised(model, {0, 1}, 4, true).embedding_bytes, 0.5e9) << "the head it shares";
  EXPECT_EQ(with_quantised(model, {0, 1}, 4, false).embedding_bytes, 2e9);
  EXPECT_EQ(with_quantised(model, {1, 2}, 4, true).head_bytes, 0.5e9);
}

TEST(Planner, AStageHoldsACopyOfTheKeysThatItsLayersReadOnce) {
  ModelFootprint model;
  model.name = "m";
  model.boundary_row_bytes = 100;
  for (int i = 0; i < 5; ++i) model.layers.push_back({.weight_bytes = 1e9, .parameters = 0.5e9});
  for (LayerFootprint& layer : model.layers) layer.kv_position_bytes = 1000;
  for (const int layer : {2, 3, 4}) model.layers[to_size(layer)].kv_before = layer - 1;
  for (const std::size_t layer : {1, 2, 3, 4}) model.layers[layer].carried_row_bytes = 900;
  const PlanWish wish{.context = 64, .streams = 1};
  const Machine machine = make_machine("m", 100, 100, 1);
  const auto stage = [&](int first, int last) { return plan_stage(model, {first, last}, machine, wish, 2); };
  EXPECT_EQ(stage(0, 5).kv_bytes, 2 * 64 * 1000) << "two layers have their own";
  EXPECT_EQ(stage(0, 2).kv_bytes, 2 * 64 * 1000);
  EXPECT_EQ(stage(2, 5).kv_bytes, 64 * 1000) << "one copy for three layers";
  EXPECT_EQ(stage(0, 1).row_log_bytes, 64 * 100);
  EXPECT_EQ(stage(0, 2).row_log_bytes, 64 * 1000) << "rows carry keys and values behind the layer they are of";
}

TEST(Planner, EmbeddingsOfLayersLieInHostMemoryAndAreReadByEveryStage) {
  ModelFootprint model;
  model.name = "m";
  for (int i = 0; i < 4; ++i) {
    model.layers.push_back({.weight_bytes = 1e9, .parameters = 0.5e9, .table_bytes = 2e9, .table_parameters = 1e9});
  }
  EXPECT_EQ(model.total_bytes(), 12e9);
  Machine machine = make_machine("m", 10, 100, 1);
  machine.memory_gib = 3;
  const PlannedStage on_cpu = plan_stage(model, {0, 2}, machine, {}, 2);
  EXPECT_EQ(on_cpu.weight_bytes, 2e9);
  EXPECT_EQ(on_cpu.needed_bytes(), 6e9);
  machine.gpu = "nvidia";
  const PlannedStage on_gpu = plan_stage(model, {0, 2}, machine, {}, 2);
  EXPECT_EQ(on_gpu.needed_bytes(), 2e9);
  EXPECT_FALSE(on_gpu.fits(0)) << "4 GB in 3 GiB";
  machine.memory_gib = 4;
  EXPECT_TRUE(plan_stage(model, {0, 2}, machine, {}, 2).fits(0));
  EXPECT_EQ(on_gpu.step_seconds, 2e9 / machine.bytes_per_second) << "a row is looked up";
  EXPECT_EQ(total_chain(model, {on_gpu, on_gpu}, no_hops(), {}).cold_start_seconds, 2 + 8) << "the whole table";
  EXPECT_EQ(requantised(model, "Q8_0", 8).layers[0].table_bytes, 1e9) << "a file of 8 bits";
  EXPECT_EQ(with_quantised(model, {0, 4}, 8, true).layers[0].table_bytes, 2e9) << "stages leave it as it is";
}

TEST(Planner, StagesAreLevelInTimeNotInLayers) {
  ModelFootprint model;
  model.name = "m";
  for (int i = 0; i < 9; ++i) model.layers.push_back({.weight_bytes = 1e9, .parameters = 0.5e9});
  model.head_bytes = model.embedding_bytes = 3e9;
  const Machine machine = make_machine("m", 7, 100, 1);
  const ChainPlan plan = plan_chain(model, {&machine}, no_hops(), {.max_stages = 3}).value();
  EXPECT_EQ(plan.cuts(), (std::vector<int>{3, 7}));  // a fourth layer does not fit beside the embedding
}

TEST(Planner, SaysWhatIsMissing) {
  const Machine machine = make_machine("tiny", 2, 100, 1);
  std::mt19937 random(1);
  const ModelFootprint model = random_model(random, 4);
  const auto too_large = plan_chain(model, {&machine}, no_hops(), {.max_stages = 2});
  ASSERT_FALSE(too_large);
  EXPECT_NE(too_large.error().message().find("2 x tiny"), std::string::npos) << too_large.error().message();
  const Machine big = make_machine("big", 100, 100, 1);
  const auto too_slow = plan_chain(model, {&big}, no_hops(), {.tokens_per_second = 1e6, .max_stages = 2});
  ASSERT_FALSE(too_slow);
  EXPECT_NE(too_slow.error().message().find("the fastest gives"), std::string::npos) << too_slow.error().message();
  Machine slow = make_machine("slow", 100, 100, 1);
  slow.ops_per_second = 1e12;
  const auto too_late = plan_chain(model, {&slow}, no_hops(), {.first_token_seconds = 1e-6, .max_stages = 2});
  ASSERT_FALSE(too_late);
  EXPECT_NE(too_late.error().message().find("the first token of a prompt of 1024 within 1e-06 s; the fastest takes"),
            std::string::npos)
      << too_late.error().message();
  EXPECT_FALSE(plan_chain(model, {}, no_hops(), {}));
}

}  // namespace
}  // namespace commissure
