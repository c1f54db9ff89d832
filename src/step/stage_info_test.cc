#include "step/stage_info.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

std::vector<StageInfo> chain(std::vector<int> cuts = {10, 20}) {
  std::vector<StageInfo> stages;
  const std::vector<StagePlan> plans = plan_stages(30, cuts).value();
  for (const StagePlan& plan : plans) {
    StageInfo info;
    info.model = "SmolLM2";
    info.fingerprint = "12ab34cd56ef7890";
    info.precision = "fast";
    info.kv_dtype = "bf16";
    info.plan = plan;
    info.d_model = 576;
    info.n_kv_blocks = 128;
    info.max_rows = 512;
    stages.push_back(info);
  }
  return stages;
}

void expect_refused(const std::vector<StageInfo>& stages, std::vector<std::string> words) {
  const Status status = validate_chain(stages);
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().code(), Code::kFailedPrecondition);
  for (const std::string& word : words) {
    EXPECT_NE(status.error().message().find(word), std::string::npos) << word << " in " << status.error().message();
  }
}

TEST(StageChain, AcceptsStagesThatFollowEachOther) {
  EXPECT_TRUE(validate_chain(chain()).has_value());
  EXPECT_TRUE(validate_chain(chain({})).has_value());
}

TEST(StageChain, NamesBothSidesOfAGap) {
  auto stages = chain();
  stages[1].plan.layers.first = 12;
  expect_refused(stages, {"stage a (layers 0-10 of SmolLM2, fingerprint 12ab34cd56ef..)", "stage b (layers 12-20",
                          "layers 10-12 are on no stage"});
}

TEST(StageChain, NamesBothSidesOfAnOverlap) {
  auto stages = chain();
  stages[2].plan.layers.first = 15;
  expect_refused(stages, {"stage b", "stage c", "layers 15-20 are on both"});
}

TEST(StageChain, RefusesAnotherModelOrPrecisionOrKvTypeOrWidth) {
  auto stages = chain();
  stages[1].fingerprint = "ffffffffffffffff";
  expect_refused(stages, {"stage a", "stage b", "ffffffffffff..", "different models"});
  stages = chain();
  stages[2].precision = "exact";
  expect_refused(stages, {"stage b", "stage c", "'fast'", "'exact'"});
  stages = chain();
  stages[2].kv_dtype = "int8";
  expect_refused(stages, {"stage b", "stage c", "'bf16'", "'int8'", "--kv-dtype"});
  stages = chain();
  stages[2].d_model = 640;
  expect_refused(stages, {"576", "640"});
}

TEST(StageChain, RefusesAStageWithLessRoomThanTheOneBefore) {
  auto stages = chain();
  stages[1].n_kv_blocks = 200;
  stages[2].n_kv_blocks = 100;
  expect_refused(stages, {"stage b", "stage c", "200 KV blocks", "100", "--kv-memory"});
  stages[2].n_kv_blocks = 200;
  EXPECT_TRUE(validate_chain(stages).has_value());
  stages[1].max_rows = 256;
  expect_refused(stages, {"stage a", "stage b", "512 rows", "256", "--max-num-batched-tokens"});
  stages = chain();
  stages[0].n_states = stages[1].n_states = 64;
  stages[2].n_states = 32;
  expect_refused(stages, {"stage b", "stage c", "64 sequences", "32", "--max-num-seqs"});
}

TEST(StageChain, RefusesMissingAndMisplacedStages) {
  auto stages = chain();
  stages.pop_back();
  expect_refused(stages, {"ends with stage b", "missing"});
  stages = chain();
  stages.erase(stages.begin());
  expect_refused(stages, {"begins with stage b", "missing"});
  stages = chain();
  stages[0].plan.layers.first = 1;
  expect_refused(stages, {"layers 0-1 are on no stage"});
  stages = chain();
  stages[2].plan.layers.last = 29;
  expect_refused(stages, {"layers 29-30 are on no stage"});
  stages = chain();
  stages[1].plan.n_stages = 4;
  expect_refused(stages, {"stage 1 of 3 is followed by stage 2 of 4"});
  expect_refused(std::vector<StageInfo>(), {"no stage"});
}

TEST(StageChain, RefusesNonsenseFromAnotherProcess) {
  for (const StagePlan& plan : {StagePlan{-1, 3, 30, {0, 10}}, StagePlan{0, 1000, 30, {0, 10}},
                                StagePlan{0, 3, 30, {10, 10}}, StagePlan{0, 3, 30, {0, 31}}}) {
    auto stages = chain();
    stages[0].plan = plan;
    expect_refused(stages, {"no stage plan"});
  }
}

}  // namespace
}  // namespace commissure
