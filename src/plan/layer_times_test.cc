#include "plan/layer_times.h"

#include <gtest/gtest.h>

#include "plan/planner.h"

namespace commissure {
namespace {

/// Six layers of equal bytes; the first three, without a window, take three times as long as the others.
LayerTimes uneven_times() {
  LayerTimes times{.machine = "small", .model = "toy", .weights = "BF16", .kv_dtype = "bf16", .n_layers = 6};
  times.kinds = {{.layers = {3, 4, 5},
                  .window = 512,
                  .weight_bytes = 1e9,
                  .decode = {{1, 0.010}, {2, 0.011}, {4, 0.013}},
                  .position_seconds = 0,
                  .prefill = {{64, 0.100}, {512, 0.800}}},
                 {.layers = {0, 1, 2},
                  .window = 0,
                  .weight_bytes = 1e9,
                  .decode = {{1, 0.030}, {4, 0.036}},
                  .position_seconds = 1e-6,
                  .prefill = {{512, 2.400}}}};
  times.embedding = {{1, 0.001}};
  times.head = {{1, 0.005}, {4, 0.006}};
  EXPECT_TRUE(index_kinds(times).has_value());
  return times;
}

ModelFootprint toy_model() {
  ModelFootprint model{.name = "toy", .weights = "BF16", .layers = {}};
  for (int i = 0; i < 6; ++i) model.layers.push_back({1e9, 0.5e9, 100, i < 3 ? 0 : 512});
  return model;
}

Machine small_machine() {
  Machine machine;
  machine.name = "small";
  machine.usable_bytes = 5.5e9;
  machine.bytes_per_second = 1e12;
  machine.ops_per_second = 1e15;
  machine.usd_per_hour = 1;
  return machine;
}

std::string problem_of(LayerTimes times, std::string_view kv_dtype = "bf16") {
  ModelFootprint model = toy_model();
  const Status added = add_times(model, std::move(times), kv_dtype);
  return added ? "" : added.error().message();
}

TEST(LayerTimes, AreLinearBetweenPointsAndInProportionBeyond) {
  const RowTimes times = {{2, 0.010}, {4, 0.014}};
  EXPECT_DOUBLE_EQ(seconds_for(times, 1), 0.010);
  EXPECT_DOUBLE_EQ(seconds_for(times, 3), 0.012);
  EXPECT_DOUBLE_EQ(seconds_for(times, 4), 0.014);
  EXPECT_DOUBLE_EQ(seconds_for(times, 16), 0.056);
}

TEST(LayerTimes, ARecordIsReadAsItWasWritten) {
  const Json record = layer_times_json(uneven_times());
  const auto read = parse_layer_times(pretty_json(record));
  ASSERT_TRUE(read.has_value()) << read.error().message();
  EXPECT_EQ(layer_times_json(*read), record);
  EXPECT_EQ(read->kind_of(2).window, 0);
}

TEST(LayerTimes, ARecordThatIsNoneIsRefusedByTheNameOfWhatIsWrong) {
  const auto problem = [](const char* key, const Json& value) {
    Json record = layer_times_json(uneven_times());
    record[key] = value;
    const auto read = parse_layer_times(dump_json(record));
    return read ? "" : read.error().message();
  };
  EXPECT_NE(problem("format", "2").find("format"), std::string::npos);
  EXPECT_NE(problem("machine", 3).find("machine"), std::string::npos);
  EXPECT_NE(problem("n_layers", 7).find("layer 6 is of no kind"), std::string::npos);
  EXPECT_NE(problem("n_layers", 5).find("below n_layers"), std::string::npos);
  EXPECT_NE(problem("head_ms", Json::array()).find("head_ms"), std::string::npos);
  EXPECT_NE(problem("head_ms", {{4, 1}, {2, 1}}).find("rising"), std::string::npos);
  EXPECT_FALSE(parse_layer_times("[").has_value());
}

TEST(LayerTimes, OfAnotherModelAreRefused) {
  EXPECT_EQ(problem_of(uneven_times()), "");
  LayerTimes other = uneven_times();
  other.weights = "Q8_0";
  EXPECT_NE(problem_of(other).find("weights in Q8_0, the plan is for BF16"), std::string::npos);
  EXPECT_NE(problem_of(uneven_times(), "int8").find("KV in bf16, the plan is for int8"), std::string::npos);
  other = uneven_times();
  other.kinds[1].weight_bytes = 2e9;
  EXPECT_NE(problem_of(other).find("the layers of toy"), std::string::npos);
}

TEST(LayerTimes, TakeThePlaceOfComputedOnesAndLevelTheStages) {
  ModelFootprint model = toy_model();
  const Machine machine = small_machine();
  PlanWish wish{.context = 1000, .streams = 1, .prompt = 512};
  Catalogue catalogue;
  catalogue.source_bytes_per_second = 1e9;
  const auto computed = plan_chain(model, {&machine}, catalogue, wish);
  ASSERT_TRUE(computed.has_value());
  EXPECT_EQ(computed->cuts(), (std::vector<int>{3}));
  EXPECT_FALSE(computed->stages[0].is_measured);

  ASSERT_TRUE(add_times(model, uneven_times(), "bf16").has_value());
  const auto plan = plan_chain(model, {&machine}, catalogue, wish);
  ASSERT_TRUE(plan.has_value());
  EXPECT_EQ(plan->cuts(), (std::vector<int>{2})) << "two slow layers beside one slow and three fast ones";
  const PlannedStage whole = plan_stage(model, {0, 6}, machine, wish, 1);
  EXPECT_NEAR(whole.step_seconds, 0.001 + 3 * 0.010 + 3 * (0.030 + 1000e-6) + 0.005, 1e-9);
  EXPECT_NEAR(whole.chunk_seconds, 512 * 0.001 + 3 * 0.8 + 3 * 2.4 + 0.005, 1e-9);
  EXPECT_TRUE(plan->stages[0].is_measured && plan->stages[1].is_measured);
  EXPECT_TRUE(requantised(model, "Q8_0", 8.5).times.empty());
}

}  // namespace
}  // namespace commissure
