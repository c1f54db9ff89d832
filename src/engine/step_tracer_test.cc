#include "engine/step_tracer.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

StepBatch batch(std::uint64_t step, std::vector<std::uint64_t> sequences) {
  StepBatch made;
  made.step = StepId(step);
  for (const std::uint64_t sequence : sequences) {
    SequenceRows rows;
    rows.sequence = SequenceId(sequence);
    rows.first_position = static_cast<int>(10 * sequence);
    rows.tokens = {TokenId(1), TokenId(2)};
    made.slices.push_back(rows);
  }
  return made;
}

GenerationRequest asked(TraceLevel level) {
  GenerationRequest request;
  request.trace = level;
  return request;
}

TEST(StepTracer, GivesEveryRequestItsOwnShare) {
  StepTracer tracer;
  tracer.begin(SequenceId(1), asked(TraceLevel::kLayers));
  tracer.begin(SequenceId(2), asked(TraceLevel::kTimes));
  tracer.begin(SequenceId(4), asked(TraceLevel::kLayers));
  StepBatch step = batch(7, {1, 2, 3, 4});
  tracer.on_submit(step);
  EXPECT_TRUE(step.slices[0].sum_layers && step.slices[3].sum_layers);
  EXPECT_FALSE(step.slices[1].sum_layers || step.slices[2].sum_layers);

  tracer.on_answer({{"a", 1, 2, 3, {10, 11, 40, 41}}, {"b", 4, 5, 0, {12, 42}}});
  const auto first = tracer.take(SequenceId(1));
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(first[0].step, StepId(7));
  EXPECT_EQ(first[0].first_position, 10);
  EXPECT_EQ(first[0].n_rows, 2);
  EXPECT_EQ(first[0].stages[0].checksums, (std::vector<std::uint32_t>{10, 11}));
  EXPECT_EQ(first[0].stages[1].checksums, (std::vector<std::uint32_t>{12}));
  EXPECT_EQ(tracer.take(SequenceId(4))[0].stages[0].checksums, (std::vector<std::uint32_t>{40, 41}));
  const auto second = tracer.take(SequenceId(2));
  EXPECT_TRUE(second[0].stages[0].checksums.empty());
  EXPECT_EQ(second[0].stages[0].compute_us, 2u);
  EXPECT_TRUE(tracer.take(SequenceId(3)).empty());
}

TEST(StepTracer, LeavesOutStepsThatAreComputedAgain) {
  StepTracer tracer;
  tracer.begin(SequenceId(1), asked(TraceLevel::kTimes));
  for (std::uint64_t id = 1; id <= 3; ++id) {
    StepBatch step = batch(id, {1});
    tracer.on_submit(step);
  }
  tracer.drop_newest();
  tracer.drop_oldest();
  tracer.on_answer({{"a", 1, 1, 0}});
  const auto trace = tracer.take(SequenceId(1));
  ASSERT_EQ(trace.size(), 1u);
  EXPECT_EQ(trace[0].step, StepId(2));
}

TEST(StepTracer, ShowsNoChecksumsThatDoNotFit) {
  StepTracer tracer;
  tracer.begin(SequenceId(1), asked(TraceLevel::kLayers));
  tracer.begin(SequenceId(2), asked(TraceLevel::kLayers));
  StepBatch step = batch(1, {1, 2});
  tracer.on_submit(step);
  tracer.on_answer({{"a", 1, 1, 0, {1, 2, 3}}});
  EXPECT_TRUE(tracer.take(SequenceId(1))[0].stages[0].checksums.empty());
}

TEST(StepTracer, TellsTheStagesOfTheFirstStepsOfATrace) {
  StepTracer tracer;
  GenerationRequest request;
  request.trace_parent = TraceParent{std::string(32, 'a'), std::string(16, 'b'), true};
  request.choice = 3;
  tracer.begin(SequenceId(2), request);
  tracer.begin(SequenceId(3), asked(TraceLevel::kTimes));
  for (std::size_t id = 0; id < kMaxSpanSteps + 2; ++id) {
    StepBatch step = batch(id, {1, 2, 3});
    tracer.on_submit(step);
    const bool is_told = id < kMaxSpanSteps;
    ASSERT_EQ(step.traces.size(), is_told ? 1u : 0u);
    if (is_told) {
      EXPECT_EQ(step.traces[0], (SliceTrace{1, 3, *request.trace_parent}));
    }
    tracer.on_answer({{"a", 1, 1, 0}});
  }
  EXPECT_TRUE(tracer.take(SequenceId(2)).empty()) << "nobody asked for times";
}

TEST(StepTracer, KnowsWhichStagesToldACollectorThemselves) {
  StepTracer tracer;
  GenerationRequest traced = asked(TraceLevel::kTimes);
  traced.trace_parent = TraceParent{std::string(32, 'a'), std::string(16, 'b'), true};
  tracer.begin(SequenceId(1), traced);
  tracer.begin(SequenceId(2), asked(TraceLevel::kTimes));
  StepBatch step = batch(1, {1, 2});
  tracer.on_submit(step);
  StageTiming told{"b", 1, 1, 0};
  told.has_span = true;
  tracer.on_answer({{"a", 1, 1, 0}, told});
  const auto of_traced = tracer.take(SequenceId(1)), of_other = tracer.take(SequenceId(2));
  EXPECT_FALSE(of_traced[0].stages[0].has_span);
  EXPECT_TRUE(of_traced[0].stages[1].has_span);
  EXPECT_FALSE(of_other[0].stages[1].has_span);
}

TEST(StepTracer, ARebuildStepBelongsToNoTrace) {
  StepTracer tracer;
  GenerationRequest traced;
  traced.trace_parent = TraceParent{std::string(32, 'a'), std::string(16, 'b'), true};
  tracer.begin(SequenceId(1), traced);
  StepBatch step = batch(1, {1});
  step.rebuild = {1, 1};
  tracer.on_submit(step);
  EXPECT_TRUE(step.traces.empty());
}

}  // namespace
}  // namespace commissure
