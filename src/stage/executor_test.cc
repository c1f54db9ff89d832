#include "stage/executor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <limits>

#include "kernels/cpu/cpu_backend.h"
#include "stage/stage_memory.h"
#include "support/family_model.h"
#include "support/stage_fixture.h"
#include "support/trap_backend.h"
#include "weights/pack_file.h"

namespace commissure::testing {
namespace {

std::unique_ptr<Executor> make_executor(Backend& backend, const Checkpoint& checkpoint, const StagePlan& plan) {
  const DecoderSpec spec = *read_decoder_spec(checkpoint);
  auto executor = Executor::create(backend, spec, plan, *load_weights(backend, checkpoint, spec, model_part(plan), {}),
                                   32, KvShape{8, 8, widest_window(spec)});
  CHECK(executor.has_value());
  return std::move(*executor);
}

/// For the toy Gemma, whose layers have windows.
StageInput input_of(SequenceRows rows) {
  StageInput input;
  input.batch.slices.push_back(with_windows(std::move(rows)));
  return input;
}

SequenceRows greedy_rows(std::vector<int> tokens) {
  SequenceRows rows = rows_of(1, 0, std::move(tokens), 0);
  rows.sample = true;
  rows.params = SamplingParams{.temperature = 0.0f, .n_logprobs = 3, .banned = {}};
  return rows;
}

ScoredToken sampled(const Result<StageOutput>& output) {
  return *std::get<SampledTokens>(output->value).results[0].sampled;
}

class ExecutorTest : public ::testing::Test {
 protected:
  const ToyFile file_{ToyModel{.is_gemma = true}};
  const std::unique_ptr<Checkpoint> checkpoint_ = open_checkpoint(file_.path());
  const std::unique_ptr<Backend> backend_ = cpu_backend("reference");
  const StagePlan plan_ = whole_plan(*read_decoder_spec(*checkpoint_));
};

TEST_F(ExecutorTest, RefusesStepsLargerThanItsMemory) {
  const auto executor = make_executor(*backend_, *checkpoint_, plan_);
  const auto output = executor->step(input_of(greedy_rows(std::vector<int>(33, 1))));
  ASSERT_FALSE(output.has_value());
  EXPECT_EQ(output.error().code(), Code::kInvalidArgument);
}

TEST(PackedExecutor, AnswersTheSameFromAPackFileAndIgnoresADamagedOne) {
  const auto backend = cpu_backend("");
  const std::string layout = backend->packed_layout();
  if (layout.empty()) GTEST_SKIP() << "this CPU has no packed layout (AVX2 or AVX-512)";
  const ToyFile file{ToyModel{.matrices = DType::kQ8_0}};
  const auto checkpoint = open_checkpoint(file.path());
  const DecoderSpec spec = *read_decoder_spec(*checkpoint);
  const auto answer = [&] {
    StageInput input;
    input.batch.slices.push_back(greedy_rows({1, 2, 3}));
    return sampled(make_executor(*backend, *checkpoint, whole_plan(spec))->step(std::move(input)));
  };
  const auto has_packed_weights = [&] {
    const auto weights = load_weights(*backend, *checkpoint, spec, model_part(whole_plan(spec)), {});
    const auto source = [](const Matrix& matrix) { return static_cast<const cpu::CpuMatrix&>(matrix).source(); };
    const bool are_packed = !source(*weights->layers[0].up).packed.bytes.empty();
    EXPECT_EQ(!source(*weights->head()).screen.bytes.empty(), are_packed);
    EXPECT_TRUE(source(*weights->layers[0].down).screen.bytes.empty());
    return are_packed;
  };
  const ScoredToken as_stored = answer();
  EXPECT_FALSE(has_packed_weights());
  const auto packed = pack_weights(*backend, *checkpoint, spec);
  ASSERT_TRUE(packed.has_value()) << packed.error().message();
  EXPECT_EQ(packed->path, pack_path(*checkpoint, layout));
  EXPECT_TRUE(has_packed_weights());
  EXPECT_EQ(answer(), as_stored);
  std::filesystem::resize_file(packed->path, packed->n_bytes - 1);
  EXPECT_FALSE(has_packed_weights());
  EXPECT_EQ(answer(), as_stored);
}

TEST_F(ExecutorTest, KeepsItsSequencesAfterABadBatch) {
  const auto executor = make_executor(*backend_, *checkpoint_, plan_);
  const auto expected = sampled(executor->step(input_of(greedy_rows({1, 2, 3}))));
  SequenceRows next = rows_of(1, 3, {4}, 0);
  next.sample = true;
  StageInput bad = input_of(next);
  bad.batch.slices.push_back(rows_of(2, 9, {4}, 3));
  EXPECT_EQ(executor->step(std::move(bad)).error().code(), Code::kDataLoss);
  const auto after_bad = sampled(executor->step(input_of(next)));

  EXPECT_EQ(sampled(executor->step(input_of(greedy_rows({1, 2, 3})))), expected);
  EXPECT_EQ(sampled(executor->step(input_of(next))), after_bad);
}

TEST_F(ExecutorTest, RefusesABoundaryThatDoesNotFitItsBatch) {
  const StagePlan last{.index = 1, .n_stages = 2, .n_model_layers = 7, .layers = {3, 7}};
  const auto executor = make_executor(*backend_, *checkpoint_, last);
  for (const auto& [n_rows, d_model, step] : {std::tuple{2, 64, 0}, {3, 32, 0}, {3, 64, 1}}) {
    StageInput input = input_of(greedy_rows({1, 2, 3}));
    input.boundary = make_boundary(StepId(static_cast<std::uint64_t>(step)), n_rows, d_model,
                                   std::vector<bf16>(static_cast<std::size_t>(n_rows * d_model)));
    EXPECT_EQ(executor->step(std::move(input)).error().code(), Code::kDataLoss);
  }
}

TEST_F(ExecutorTest, NamesTheSequenceWhoseNumbersAreNotFinite) {
  const StagePlan last{.index = 1, .n_stages = 2, .n_model_layers = 7, .layers = {3, 7}};
  const auto executor = make_executor(*backend_, *checkpoint_, last);
  StageInput input = input_of(greedy_rows({1}));
  const bf16 nan = to_bf16(std::numeric_limits<float>::quiet_NaN());
  input.boundary = make_boundary(StepId(0), 1, 64, std::vector<bf16>(64, nan));
  const auto output = executor->step(std::move(input));
  ASSERT_FALSE(output.has_value());
  EXPECT_EQ(output.error().code(), Code::kInternal);
  EXPECT_NE(output.error().message().find("sequence 1"), std::string::npos) << output.error().message();
}

TEST_F(ExecutorTest, RunsAStepThatOnlyReleases) {
  const auto executor = make_executor(*backend_, *checkpoint_, plan_);
  ASSERT_TRUE(executor->step(input_of(greedy_rows({1, 2}))).has_value());
  StageInput input;
  input.batch.released = {SequenceId(1)};
  EXPECT_TRUE(executor->step(std::move(input)).has_value());
}

TEST_F(ExecutorTest, NeverTouchesDeviceMemoryItself) {
  const auto plain = make_executor(*backend_, *checkpoint_, plan_);
  TrapBackend trap(cpu_backend("reference"));
  const auto trapped = make_executor(trap, *checkpoint_, plan_);
  EXPECT_EQ(sampled(trapped->step(input_of(greedy_rows({1, 2, 3})))),
            sampled(plain->step(input_of(greedy_rows({1, 2, 3})))));
}

/// A device that fails once, in a step's midst.
class FailingPeek final : public TrapBackend {
 public:
  using TrapBackend::TrapBackend;
  Result<std::span<const std::byte>> peek(DevicePtr from, std::size_t n_bytes) override {
    if (n_before_ >= 0 && n_before_-- == 0) return Error(Code::kInternal, "the device failed");
    return TrapBackend::peek(from, n_bytes);
  }
  /// So many peeks go well before the one that does not.
  void fail_after(int n) { n_before_ = n; }
  bool has_failed() const { return n_before_ < 0; }

 private:
  int n_before_ = -1;
};

TEST(ExecutorOfExperts, AStepWhoseRouterCannotBeReadFailsAndCommitsNothing) {
  const auto families = family_cases(std::string(COMMISSURE_SOURCE_DIR) + "/tests/golden/families");
  const auto family = std::ranges::find(families, "qwen2-moe", &FamilyCase::name);
  ASSERT_NE(family, families.end());
  const TempFolder folder;
  write_family_safetensors(*family, folder);
  const auto checkpoint = open_checkpoint(folder.path());
  FailingPeek backend(cpu_backend("reference"));
  const auto executor = make_executor(backend, *checkpoint, whole_plan(*read_decoder_spec(*checkpoint)));
  const auto step = [&](SequenceRows rows) {
    StageInput input;
    input.batch.slices.push_back(std::move(rows));
    return executor->step(std::move(input));
  };
  SequenceRows next = rows_of(1, 3, {4}, 0);
  next.sample = true;
  ASSERT_TRUE(step(greedy_rows({1, 2, 3})).has_value());
  const auto expected = sampled(step(next));
  const int n_layers = count_of(read_decoder_spec(*checkpoint)->layers);
  for (int n = 0; n < 2 * n_layers; ++n) {  // two a layer: the router, and that of the expert all rows take
    ASSERT_TRUE(step(greedy_rows({1, 2, 3})).has_value());
    backend.fail_after(n);
    const auto failed = step(next);
    ASSERT_TRUE(backend.has_failed()) << n;
    ASSERT_FALSE(failed.has_value()) << n;
    EXPECT_EQ(failed.error().message(), "the device failed");
    EXPECT_EQ(sampled(step(next)), expected) << n;
  }
}

}  // namespace
}  // namespace commissure::testing
