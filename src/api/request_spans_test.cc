#include "api/request_spans.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

TEST(RequestSpans, LayTheStagesOfAStepOneBehindTheOther) {
  StepTrace step{StepId(7), 5, 2, 100, {{"a", 1, 10, 2, {}}, {"b", 3, 20, 4, {}}}};
  step.started_unix_ns = 1'000'000;
  const auto spans = stage_spans({"trace", "parent", "own", true}, 1, {step});
  ASSERT_EQ(spans.size(), 2u);
  EXPECT_EQ(spans[0].name, "stage a");
  EXPECT_EQ(spans[0].parent_id, "own");
  EXPECT_EQ(spans[0].start_unix_ns, 1'001'000);
  EXPECT_EQ(spans[0].end_unix_ns, 1'011'000);
  EXPECT_EQ(spans[1].start_unix_ns, 1'016'000);
  EXPECT_EQ(spans[1].trace_id, "trace");
  EXPECT_NE(spans[0].span_id, spans[1].span_id);
}

TEST(RequestSpans, LeaveOutStagesThatTellThemselves) {
  StepTrace step{StepId(7), 5, 2, 100, {{"a", 1, 10, 2, {}}, {"b", 3, 20, 4, {}}, {"c", 1, 1, 1, {}}}};
  step.stages[1].has_span = true;
  step.started_unix_ns = 1'000'000;
  const auto spans = stage_spans({"trace", "parent", "own", true}, 1, {step});
  ASSERT_EQ(spans.size(), 2u);
  EXPECT_EQ(spans[1].name, "stage c");
  EXPECT_EQ(spans[1].start_unix_ns, 1'041'000) << "its time counts all the same";
}

TEST(RequestSpans, AreBounded) {
  const std::vector<StepTrace> steps(1000, StepTrace{StepId(1), 0, 1, 5, {{"a", 1, 1, 1, {}}}});
  EXPECT_EQ(stage_spans({"t", "", "s", true}, 0, steps).size(), kMaxSpanSteps);
}

}  // namespace
}  // namespace commissure
