#include "stage/local_link.h"

#include <gtest/gtest.h>

#include "support/failing_new.h"
#include "support/stage_fixture.h"

namespace commissure::testing {
namespace {

SequenceRows greedy_rows(std::uint64_t sequence, std::vector<int> tokens) {
  SequenceRows rows = rows_of(sequence, 0, std::move(tokens), static_cast<int>(sequence));
  rows.sample = true;
  rows.params = SamplingParams{.temperature = 0.0f, .banned = {}};
  return rows;
}

class LocalLinkTest : public ::testing::Test {
 protected:
  std::unique_ptr<Stage> make_stage() {
    const DecoderSpec spec = *read_decoder_spec(*checkpoint_);
    return *Stage::create(*backend_, *checkpoint_, spec, whole_plan(spec),
                          {.model_name = "toy", .max_rows = 32, .n_kv_blocks = 8});
  }
  static StageInput input_of(std::uint64_t step, SequenceRows rows) {
    return {{.step = StepId(step), .slices = {std::move(rows)}, .released = {}}, {}};
  }

  const ToyFile file_{ToyModel{}};
  const std::unique_ptr<Checkpoint> checkpoint_ = open_checkpoint(file_.path());
  const std::unique_ptr<Backend> backend_ = cpu_backend("");
  BoundedQueue<Result<StageOutput>> outputs_{64};
  const StageLink::Sink sink_ = [this](Result<StageOutput> output) { outputs_.push(std::move(output)); };
};

TEST_F(LocalLinkTest, LoadsAColdStageOnTheFirstSubmit) {
  BoundedQueue<Status> loaded(1);  // outlives the stage's loader
  const auto stage = make_stage();
  stage->on_loaded([&](const Status& status) { loaded.push(Status(status)); });
  EXPECT_EQ(stage->info().state, LoadState::kCold);
  LocalLink link(*stage);
  link.start(sink_);
  EXPECT_TRUE(link.health().has_value());
  ASSERT_TRUE(link.submit(input_of(0, greedy_rows(1, {1, 2}))).has_value());
  const auto output = *outputs_.pop();
  ASSERT_TRUE(output.has_value()) << output.error().message();
  EXPECT_EQ(stage->info().state, LoadState::kReady);
  ASSERT_EQ(output->timings.size(), 1u);
  EXPECT_EQ(output->timings[0].stage, "a");
  link.stop();
  EXPECT_TRUE(loaded.pop()->has_value());
}

TEST_F(LocalLinkTest, AnswersEverySubmitOnceInOrder) {
  const auto stage = make_stage();
  LocalLink link(*stage, {.queue_capacity = 2});
  link.start(sink_);
  for (std::uint64_t step = 0; step < 20; ++step) {
    ASSERT_TRUE(link.submit(input_of(step, greedy_rows(step % 4, {1, 2}))).has_value());
  }
  for (std::uint64_t step = 0; step < 20; ++step) EXPECT_EQ((*outputs_.pop())->batch.step, StepId(step));
  link.stop();
  EXPECT_EQ(outputs_.size(), 0u);
}

TEST_F(LocalLinkTest, LosesItsSequencesWithTheStream) {
  const auto stage = make_stage();
  LocalLink link(*stage);
  link.start(sink_);
  ASSERT_TRUE(link.submit(input_of(0, greedy_rows(1, {1, 2}))).has_value());
  EXPECT_TRUE(outputs_.pop()->has_value());
  ASSERT_TRUE(link.submit(input_of(1, rows_of(2, 70, {1}, 0))).has_value());
  EXPECT_EQ(outputs_.pop()->error().code(), Code::kDataLoss);
  ASSERT_TRUE(link.submit(input_of(2, rows_of(1, 2, {1}, 0))).has_value());
  EXPECT_EQ(outputs_.pop()->error().code(), Code::kDataLoss) << "sequence 1 went with the stream";
  ASSERT_TRUE(link.submit(input_of(3, greedy_rows(1, {1, 2}))).has_value());
  EXPECT_TRUE(outputs_.pop()->has_value());
}

#ifdef COMMISSURE_FAILING_NEW
TEST_F(LocalLinkTest, AStepWithoutMemoryFailsAlone) {
  const auto stage = make_stage();
  LocalLink link(*stage);
  link.start(sink_);
  ASSERT_TRUE(link.submit(input_of(0, greedy_rows(1, {1, 2}))).has_value());
  ASSERT_TRUE(outputs_.pop()->has_value());
  SequenceRows big = greedy_rows(2, {1, 2});
  big.params->allowed.assign(kMaxTokenList, TokenId(3));
  {
    const FailingNew failing(4 * kMaxTokenList);
    ASSERT_TRUE(link.submit(input_of(1, big)).has_value());
    EXPECT_EQ(outputs_.pop()->error().code(), Code::kResourceExhausted);
    EXPECT_GT(failing.n_failed(), 0);
  }
  SequenceRows goes_on = rows_of(1, 2, {3}, 0);
  goes_on.sample = true;
  ASSERT_TRUE(link.submit(input_of(2, goes_on)).has_value());
  EXPECT_TRUE(outputs_.pop()->has_value()) << "its neighbour is as it was";
  ASSERT_TRUE(link.submit(input_of(3, big)).has_value());
  EXPECT_TRUE(outputs_.pop()->has_value());
}
#endif

TEST_F(LocalLinkTest, TellsOfTracedRowsAndOfNoOthers) {
  BoundedQueue<std::vector<Span>> spans(8);
  const auto stage = make_stage();
  LocalLink link(*stage, {.on_spans = [&](std::vector<Span> made) { spans.push(std::move(made)); }});
  link.start(sink_);
  StageInput input = input_of(0, greedy_rows(1, {1, 2}));
  ASSERT_TRUE(link.submit(input).has_value());
  EXPECT_FALSE((*outputs_.pop())->timings[0].has_span);

  input.batch.step = StepId(1);
  input.batch.slices.push_back(greedy_rows(2, {1, 2, 3}));
  input.batch.traces = {{1, 4, {std::string(32, 'a'), std::string(16, 'b'), true}}};
  ASSERT_TRUE(link.submit(input).has_value());
  EXPECT_TRUE((*outputs_.pop())->timings[0].has_span);
  const std::vector<Span> told = *spans.pop();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].name, "stage a");
  EXPECT_EQ(told[0].trace_id, std::string(32, 'a'));
  EXPECT_EQ(told[0].parent_id, std::string(16, 'b'));
  EXPECT_EQ(told[0].span_id.size(), 16u);
  EXPECT_LE(told[0].start_unix_ns, told[0].end_unix_ns);
  EXPECT_FALSE(told[0].is_error);
  const std::vector<std::pair<std::string, Json>> expected = {{"commissure.stage", "a"},
                                                              {"commissure.step", 1},
                                                              {"commissure.choice", 4},
                                                              {"commissure.position", 0},
                                                              {"commissure.rows", 3}};
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(told[0].attributes.at(i), expected[i]);

  input.batch.step = StepId(2);
  input.batch.slices[1].tokens[0] = TokenId(1 << 30);
  ASSERT_TRUE(link.submit(input).has_value());
  EXPECT_FALSE(outputs_.pop()->has_value());
  EXPECT_TRUE(spans.pop()->at(0).is_error) << "a step that failed is told of as well";
  link.stop();
  EXPECT_EQ(spans.size(), 0u) << "nothing of the step without a trace";
}

TEST_F(LocalLinkTest, AnswersWhatIsInFlightWhenItStops) {
  const auto stage = make_stage();
  LocalLink link(*stage);
  link.start(sink_);
  for (std::uint64_t step = 0; step < 5; ++step) {
    ASSERT_TRUE(link.submit(input_of(step, greedy_rows(step, {1, 2}))).has_value());
  }
  link.stop();
  EXPECT_EQ(outputs_.size(), 5u);
  EXPECT_EQ(link.submit(input_of(5, greedy_rows(1, {1}))).error().code(), Code::kUnavailable);
  EXPECT_FALSE(link.health().has_value());
}

TEST_F(LocalLinkTest, TellsWhyAStageCannotLoad) {
  const DecoderSpec spec = *read_decoder_spec(*checkpoint_);
  const StageOptions greedy{.model_name = "toy", .max_rows = 32, .n_kv_blocks = 1 << 30};
  const auto stage = *Stage::create(*backend_, *checkpoint_, spec, whole_plan(spec), greedy);
  LocalLink link(*stage);
  link.start(sink_);
  const Status status = link.submit(input_of(0, greedy_rows(1, {1})));
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().code(), Code::kResourceExhausted) << status.error().message();
  EXPECT_EQ(stage->info().state, LoadState::kFailed);
  EXPECT_FALSE(stage->info().problem.empty());
}

}  // namespace
}  // namespace commissure::testing
