// The executor on a GPU's backend over the emulated card (kernels/cuda/emulated).

#include <gtest/gtest.h>

#include "kernels/cuda/driver.h"
#include "kernels/cuda/emulated/fake_driver.h"
#include "stage/executor.h"
#include "support/stage_fixture.h"

namespace commissure::testing {
namespace {

using cuda::emulated::driver_counts;

/// Opens the card, loads a model of two layers and computes three steps: the tokens they draw.
Result<std::vector<int>> load_and_step(const ToyFile& file) {
  const auto backend = TRY(cuda::emulated::make_emulated_backend());
  const auto checkpoint = open_checkpoint(file.path());
  const DecoderSpec spec = *read_decoder_spec(*checkpoint);
  const StagePlan plan = whole_plan(spec);
  auto weights = TRY(load_weights(*backend, *checkpoint, spec, model_part(plan), {}));
  const auto executor = TRY(Executor::create(*backend, spec, plan, std::move(weights), 8, KvShape{2, 2, 0}));
  std::vector<int> drawn;
  for (int step = 0; step < 3; ++step) {
    StageInput input;
    SequenceRows rows = step == 0 ? rows_of(1, 0, {1, 2, 3}, 0) : rows_of(1, 2 + step, {drawn.back()}, 0);
    rows.sample = true;
    if (step == 0) rows.params = SamplingParams{.temperature = 0.0f, .banned = {}};
    input.batch.slices.push_back(std::move(rows));
    input.batch.step = StepId(static_cast<std::uint64_t>(step));
    const StageOutput output = TRY(executor->step(std::move(input)));
    drawn.push_back(std::get<SampledTokens>(output.value).results[0].sampled->chosen.token.value);
  }
  return drawn;
}

std::uint64_t things_held() {
  const auto counts = driver_counts();
  return counts.buffers + counts.streams + counts.modules + counts.contexts;
}

/// Each call of load and steps fails once, in each of three ways: of memory, of a launch, of a lost card.
TEST(EmulatedGpu, EveryFailingCallOfTheDriverEndsInOneErrorAndNoWrongToken) {
  const ToyFile file{ToyModel{.n_layers = 2,
                              .d_model = 32,
                              .n_heads = 2,
                              .n_kv_heads = 1,
                              .head_dim = 16,
                              .d_ff = 32,
                              .n_vocab = 40,
                              .matrices = DType::kQ8_0}};
  const auto n_before = driver_counts().calls;
  const auto expected = load_and_step(file);
  ASSERT_TRUE(expected.has_value()) << expected.error().message();
  const auto n_calls = driver_counts().calls - n_before;
  std::uint64_t n_errors = 0;
  for (std::uint64_t n = 1; n <= n_calls; ++n) {
    constexpr std::array kErrors = {cuda::kOutOfMemory, 719, 999};
    const int error = kErrors[n % kErrors.size()];
    const std::uint64_t held = things_held();
    cuda::emulated::fail_call(n, error);
    const auto drawn = load_and_step(file);
    cuda::emulated::fail_call(0, 0);
    EXPECT_LE(things_held(), held + 1) << "call " << n << ": what could not be given back, and nothing else";
    if (drawn) {
      EXPECT_EQ(*drawn, *expected) << "call " << n;
      continue;
    }
    ++n_errors;
    // A card that cannot be opened is an internal error; one that fails later is lost.
    const Code code = drawn.error().code();
    EXPECT_EQ(code == Code::kResourceExhausted, error == cuda::kOutOfMemory) << n;
    EXPECT_TRUE(error == cuda::kOutOfMemory || code == Code::kUnavailable || code == Code::kInternal) << n;
    EXPECT_NE(drawn.error().message().find("(" + std::to_string(error) + ")"), std::string::npos)
        << "call " << n << ": " << drawn.error().message();
  }
  EXPECT_GT(n_errors, n_calls / 2);
  EXPECT_EQ(*load_and_step(file), *expected);
}

}  // namespace
}  // namespace commissure::testing
