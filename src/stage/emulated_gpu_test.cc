// The executor on a GPU's backend over the emulated card (kernels/cuda/emulated).

#include <gtest/gtest.h>

#include "kernels/card_bytes.h"
#include "kernels/cuda/driver.h"
#include "kernels/cuda/emulated/fake_driver.h"
#include "stage/card_use.h"
#include "stage/executor.h"
#include "support/stage_fixture.h"
#include "support/test_extent.h"

namespace commissure::testing {
namespace {

using cuda::emulated::driver_counts;

ToyModel toy_model() {
  return {.n_layers = 2,
          .d_model = 32,
          .n_heads = 2,
          .n_kv_heads = 1,
          .head_dim = 16,
          .d_ff = 32,
          .n_vocab = 40,
          .matrices = DType::kQ8_0};
}

/// A model of two layers on a card, and the tokens that sequences draw.
class Loaded {
 public:
  static Result<std::unique_ptr<Loaded>> load(const ToyFile& file) {
    auto made = std::make_unique<Loaded>();
    made->backend_ = TRY(cuda::emulated::make_emulated_backend());
    made->checkpoint_ = open_checkpoint(file.path());
    const DecoderSpec spec = *read_decoder_spec(*made->checkpoint_);
    const StagePlan plan = whole_plan(spec);
    auto weights = TRY(load_weights(*made->backend_, *made->checkpoint_, spec, model_part(plan), {}));
    made->executor_ = TRY(Executor::create(*made->backend_, spec, plan, std::move(weights), 8, KvShape{4, 4, 0}));
    return made;
  }

  /// The n-th step of a sequence: a prompt of three, then what was drawn last.
  Result<int> step(std::uint64_t sequence, int n, int last) {
    StageInput input;
    SequenceRows rows = n == 0 ? rows_of(sequence, 0, {1, 2, 3}, 0) : rows_of(sequence, 2 + n, {last}, 0);
    rows.sample = true;
    if (n == 0) rows.params = SamplingParams{.temperature = 0.0f, .banned = {}};
    input.batch.slices.push_back(std::move(rows));
    input.batch.step = StepId(n_steps_++);
    const StageOutput output = TRY(executor_->step(std::move(input)));
    return std::get<SampledTokens>(output.value).results[0].sampled->chosen.token.value;
  }

  Result<std::vector<int>> steps(std::uint64_t sequence) {
    std::vector<int> drawn = {0};
    for (int n = 0; n < 3; ++n) drawn.push_back(TRY(step(sequence, n, drawn.back())));
    return drawn;
  }

 private:
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Checkpoint> checkpoint_;
  std::unique_ptr<Executor> executor_;
  std::uint64_t n_steps_ = 0;
};

/// Opens the card, loads a model of two layers and computes three steps: the tokens they draw.
Result<std::vector<int>> load_and_step(const ToyFile& file) {
  const auto loaded = TRY(Loaded::load(file));
  return loaded->steps(1);
}

std::uint64_t things_held() {
  const auto counts = driver_counts();
  return counts.buffers + counts.streams + counts.modules + counts.contexts;
}

/// Each call of load and steps fails once, by turns of memory, of a launch and of a lost card.
TEST(EmulatedGpu, EveryFailingCallOfTheDriverEndsInOneErrorAndNoWrongToken) {
  const ToyFile file{toy_model()};
  const auto n_before = driver_counts().calls;
  const auto expected = load_and_step(file);
  ASSERT_TRUE(expected.has_value()) << expected.error().message();
  const auto n_calls = driver_counts().calls - n_before;
  const std::uint64_t each = runs_all_tests() ? 1 : 5;
  std::uint64_t n_errors = 0;
  for (std::uint64_t n = 1; n <= n_calls; n += each) {
    constexpr std::array kErrors = {cuda::kOutOfMemory, 719, 999};
    const int error = kErrors[n / each % kErrors.size()];
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
  EXPECT_GT(n_errors, n_calls / each / 2);
  EXPECT_EQ(*load_and_step(file), *expected);
}

/// Whichever memory the first step asks for is not there: that step fails alone, and leaves nothing half made.
TEST(EmulatedGpu, AfterAStepWithoutMemoryTheSameStageDrawsTheSameTokens) {
  const ToyFile file{toy_model()};
  const auto n_before = driver_counts().calls;
  const auto loaded = Loaded::load(file);
  ASSERT_TRUE(loaded.has_value());
  const auto n_load = driver_counts().calls - n_before;
  const auto expected = (*loaded)->steps(1);
  ASSERT_TRUE(expected.has_value());
  const auto n_calls = driver_counts().calls - n_before;
  std::uint64_t n_failed = 0;
  for (std::uint64_t n = n_load + 1; n <= n_calls; ++n) {
    const auto again = Loaded::load(file);
    ASSERT_TRUE(again.has_value());
    cuda::emulated::fail_allocation(n - n_load);
    const auto first = (*again)->steps(1);
    cuda::emulated::fail_allocation(0);
    if (first) {
      EXPECT_EQ(*first, *expected);
      break;  // there were fewer allocations
    }
    ++n_failed;
    EXPECT_EQ(first.error().code(), Code::kResourceExhausted) << first.error().message();
    const auto second = (*again)->steps(2);
    ASSERT_TRUE(second.has_value()) << "allocation " << n - n_load << ": " << second.error().message();
    EXPECT_EQ(*second, *expected) << "allocation " << n - n_load;
  }
  EXPECT_GE(n_failed, 4u);
}

TEST(EmulatedGpu, AStepLikeTheOneBeforeAllocatesNothing) {
  const ToyFile file{toy_model()};
  const auto loaded = Loaded::load(file);
  ASSERT_TRUE(loaded.has_value());
  ASSERT_TRUE((*loaded)->steps(1).has_value());
  const auto before = driver_counts();
  ASSERT_TRUE((*loaded)->steps(2).has_value());
  EXPECT_EQ(driver_counts().allocations, before.allocations);
  EXPECT_GT(driver_counts().launches, before.launches);
}

/// What card_use() tells before anything is loaded is what is then allocated, to the byte: matrices whose blocks do not
/// fill the four chains, float ones whose rows do not fill a block, and the stored form of the one that is packed.
TEST(EmulatedGpu, TakesOfItsMemoryWhatIsToldBefore) {
  constexpr int kRows = 64;
  ToyModel quantised = toy_model(), untied = toy_model(), floats = toy_model();
  untied.tied_head = false;
  floats.matrices = DType::kF32;
  floats.d_ff = 40;
  for (const ToyModel& model : {quantised, untied, floats}) {
    const ToyFile file{model};
    const auto backend = cuda::emulated::make_emulated_backend().value();
    const auto checkpoint = open_checkpoint(file.path());
    const DecoderSpec spec = *read_decoder_spec(*checkpoint);
    const StagePlan plan = whole_plan(spec);
    const CardUse use = *card_use(*checkpoint, spec, plan, kRows);
    const std::uint64_t before = driver_counts().bytes;
    cuda::emulated::forget_most_bytes();
    auto weights = load_weights(*backend, *checkpoint, spec, model_part(plan), {});
    ASSERT_TRUE(weights.has_value());
    EXPECT_EQ(driver_counts().bytes - before, use.weight_bytes);
    EXPECT_EQ(cuda::emulated::most_bytes() - before, use.load_bytes);

    const KvShape kv = {4, 4, 0};
    auto executor = *Executor::create(*backend, spec, plan, std::move(*weights), kRows, kv);
    const std::uint64_t kv_bytes = kv_block_bytes(*backend, spec, plan) * to_size(kv.n_blocks);
    const std::uint64_t at_rest = use.weight_bytes + kv_bytes + scratch_bytes(spec, plan, kRows);
    EXPECT_EQ(driver_counts().bytes - before, at_rest);

    StageInput input;
    SequenceRows rows = rows_of(1, 0, std::vector<int>(kRows, 7), 0);
    rows.sample = true;
    rows.params = SamplingParams{.temperature = 0.0f, .banned = {}};
    input.batch.slices.push_back(std::move(rows));
    ASSERT_TRUE(executor->step(std::move(input)).has_value());
    constexpr std::uint64_t kTables = 4 * 4096;  // a step's integers, attention's items, rotations
    const std::uint64_t without_spans = use.product_bytes - kMaxPartialBytes;  // one span is joined with none
    EXPECT_LE(driver_counts().bytes - before, at_rest + without_spans + kTables);
    EXPECT_GE(driver_counts().bytes - before, at_rest + without_spans / 2);
  }
}

}  // namespace
}  // namespace commissure::testing
