// The boundary between stages: steps from a hostile peer to the executor of a middle stage and of the last one. The
// bytes of an input choose what each step says, mostly right, so that wrong things meet a stage that has a history.

#include <array>
#include <limits>
#include <memory>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "core/dtype.h"
#include "fuzz/fuzz.h"
#include "model/decoder.h"
#include "stage/executor.h"
#include "stage/stage_memory.h"
#include "support/temp_folder.h"
#include "support/toy_model.h"

namespace {

using namespace commissure;
using fuzz::Choices;

constexpr int kVocab = 24;
constexpr int kWidth = 16;
constexpr int kMaxRows = 6;
constexpr KvShape kShape{.n_blocks = 4, .n_window_blocks = 3, .window = 8};

/// A middle and a last stage of a toy Gemma, on the plain kernels: they are instrumented.
class Stages {
 public:
  Stages() {
    const testing::ToyModel toy{.is_gemma = true,
                                .n_layers = 7,
                                .d_model = kWidth,
                                .n_heads = 2,
                                .n_kv_heads = 1,
                                .head_dim = 8,
                                .d_ff = 16,
                                .n_vocab = kVocab,
                                .window = kShape.window};
    const std::string path = folder_.write("toy.gguf", testing::toy_gguf(toy));
    checkpoint_ = Checkpoint::open(path).value();
    backend_ = make_cpu_backend({.n_threads = 1, .isa = "reference"}).value();
    spec_ = read_decoder_spec(*checkpoint_).value();
    CHECK(widest_window(spec_) == kShape.window);
    // Each has a layer with a window and layer 5, which has none.
    add({4, 6}, 1);
    add({4, 5}, 2);
  }
  Executor& executor(std::size_t i) { return *executors_[i]; }

 private:
  void add(const std::vector<int>& cuts, std::size_t stage) {
    const StagePlan plan = plan_stages(spec_.n_layers(), cuts).value()[stage];
    auto weights = load_weights(*backend_, *checkpoint_, spec_, model_part(plan), {});
    CHECK(weights.has_value());
    auto executor = Executor::create(*backend_, spec_, plan, std::move(*weights), kMaxRows, kShape);
    CHECK(executor.has_value());
    executors_.push_back(std::move(*executor));
  }

  testing::TempFolder folder_;
  DecoderSpec spec_;
  std::unique_ptr<Checkpoint> checkpoint_;
  std::unique_ptr<Backend> backend_;
  std::vector<std::unique_ptr<Executor>> executors_;
};

/// Mostly `right`; else a number at which readers break.
int number(Choices& choices, int right) {
  static constexpr int kNumbers[] = {0,
                                     1,
                                     -1,
                                     2,
                                     3,
                                     63,
                                     64,
                                     65,
                                     1 << 20,
                                     std::numeric_limits<int>::max(),
                                     std::numeric_limits<int>::max() - 63,
                                     std::numeric_limits<int>::min()};
  const std::size_t choice = choices.below(64);
  return choice < std::size(kNumbers) ? kNumbers[choice] : right;
}

float real(Choices& choices, float right) {
  static constexpr float kNumbers[] = {
      0.0f, -1.0f, 1e-30f, 1e30f, std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()};
  const std::size_t choice = choices.below(32);
  return choice < std::size(kNumbers) ? kNumbers[choice] : right;
}

template <typename Id>
std::vector<Id> ids(Choices& choices, std::size_t n, int limit) {
  std::vector<Id> list;
  for (std::size_t i = 0; i < n; ++i) list.emplace_back(number(choices, static_cast<int>(choices.below(limit))));
  return list;
}

SamplingParams params(Choices& choices) {
  SamplingParams params;
  params.temperature = real(choices, choices.once_in(2) ? 0.0f : 0.7f);
  params.top_k = number(choices, 3);
  params.top_p = real(choices, 0.9f);
  params.min_p = real(choices, 0.1f);
  params.n_logprobs = number(choices, 2);
  if (choices.once_in(3)) params.typical_p = real(choices, 0.5f);
  if (choices.once_in(3)) params.top_n_sigma = real(choices, 1.0f);
  if (choices.once_in(3)) params.xtc_probability = real(choices, 0.5f);
  if (choices.once_in(3)) params.repetition_penalty = real(choices, 1.2f);
  if (choices.once_in(3)) params.frequency_penalty = real(choices, 0.2f);
  if (choices.once_in(3)) params.dry.multiplier = real(choices, 0.8f);
  if (choices.once_in(4)) params.dry.last_n = number(choices, 16);
  if (choices.once_in(4)) params.dry.breakers = ids<TokenId>(choices, 2, kVocab);
  if (choices.once_in(4)) params.mirostat = {.is_on = true, .tau = real(choices, 5.0f), .eta = real(choices, 0.1f)};
  if (choices.once_in(4)) params.banned = ids<TokenId>(choices, choices.below(4), kVocab);
  if (choices.once_in(4)) params.allowed = ids<TokenId>(choices, choices.below(3), kVocab);
  if (choices.once_in(4)) params.bad_sequences = {ids<TokenId>(choices, choices.below(3), kVocab)};
  if (choices.once_in(4)) params.logit_bias = {{TokenId(number(choices, 3)), real(choices, 5.0f)}};
  if (choices.once_in(4)) params.n_prompt = number(choices, 2);
  if (choices.once_in(4)) params.min_tokens = number(choices, 2);
  if (choices.once_in(4)) params.end_tokens = ids<TokenId>(choices, 1, kVocab);
  params.processed_logprobs = choices.once_in(4);
  return params;
}

/// The rows of one sequence; `position` is where it stands if all went well.
SequenceRows rows_of(Choices& choices, int sequence, int& position) {
  SequenceRows rows;
  rows.sequence = SequenceId(sequence);
  const bool begins = position == 0 || choices.once_in(8);
  if (begins) position = choices.once_in(4) ? static_cast<int>(choices.below(130)) : 0;
  rows.first_position = number(choices, position);
  rows.tokens = ids<TokenId>(choices, 1 + choices.below(3), kVocab);
  const int n_entries = (position + rows.n_rows() + kBlockPositions - 1) / kBlockPositions;
  const int n_known = begins ? 0 : (position + kBlockPositions - 1) / kBlockPositions;
  rows.table_start = number(choices, n_known);
  rows.window_start = number(choices, n_known);
  const auto n_new = static_cast<std::size_t>(std::max(0, n_entries - n_known)) + choices.once_in(16);
  rows.new_blocks = ids<BlockId>(choices, n_new, kShape.n_blocks);
  rows.new_window_blocks = ids<BlockId>(choices, n_new, kShape.n_window_blocks);
  rows.sample = choices.once_in(2);
  if (begins || choices.once_in(8)) rows.params = params(choices);
  if (choices.once_in(8)) rows.targets = ids<TokenId>(choices, rows.tokens.size() - choices.once_in(8), kVocab);
  if (begins && position > 0) rows.history = ids<TokenId>(choices, position, kVocab);
  rows.sum_layers = choices.once_in(8);
  position += rows.n_rows();
  return rows;
}

StageInput step_of(Choices& choices, std::uint64_t id, std::array<int, 3>& positions) {
  StageInput input;
  input.batch.step = StepId(id);
  for (int sequence = 0; sequence < 3; ++sequence) {
    if (choices.once_in(2)) input.batch.slices.push_back(rows_of(choices, sequence, positions[sequence]));
  }
  if (choices.once_in(16) && !input.batch.slices.empty()) input.batch.slices.push_back(input.batch.slices.front());
  if (choices.once_in(8)) input.batch.released.emplace_back(choices.below(4));
  if (choices.once_in(8)) input.batch.rebuild = {number(choices, 1), number(choices, 1)};
  if (choices.once_in(16)) input.batch.traces = {{.slice = number(choices, 0), .choice = 0, .parent = {}}};
  const int n_rows = std::max(0, std::min(64, number(choices, input.batch.n_rows())));
  const int width = std::max(0, std::min(64, number(choices, kWidth)));
  std::vector<bf16> values(n_elements(n_rows, width));
  // Any bits, infinities and not-a-number among them.
  const bool is_wild = choices.once_in(8);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<bf16>(is_wild ? choices.word() : 0x3f00u + (i * 37) % 64);
  input.boundary = make_boundary(StepId(choices.once_in(16) ? id + 1 : id), n_rows, width, std::move(values));
  return input;
}

/// Rows for the next stage, or one result for each slice.
void check_output(const StageOutput& output, const StepBatch& batch) {
  if (const auto* rows = std::get_if<Boundary>(&output.value)) {
    CHECK(rows->values.size() == n_elements(rows->n_rows, rows->d_model));
    CHECK(rows->n_rows == 0 || (rows->n_rows == batch.n_rows() && rows->d_model == kWidth));
    return;
  }
  const auto& results = std::get<SampledTokens>(output.value).results;
  CHECK(results.size() == batch.slices.size());
  for (std::size_t i = 0; i < results.size(); ++i) {
    CHECK(results[i].sequence == batch.slices[i].sequence);
    CHECK(results[i].scored.size() == batch.slices[i].targets.size());
    if (const auto& drawn = results[i].sampled)
      CHECK(drawn->chosen.token.value >= 0 && drawn->chosen.token.value < kVocab);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Stages stages;
  Choices choices(data, size);
  Executor& executor = stages.executor(choices.below(2));
  executor.forget_all_but(StageMemory::kNothing);
  std::array<int, 3> positions = {};
  for (std::uint64_t id = 1; id <= 8 && !choices.done(); ++id) {
    const StageInput input = step_of(choices, id, positions);
    const StepBatch batch = input.batch;
    const auto output = executor.step(input);
    if (output) check_output(*output, batch);
    // The device may report numbers that are not finite, of rows that are not.
    if (!output && output.error().code() != Code::kInternal) fuzz::check_refusal(output.error());
    if (choices.once_in(16)) executor.forget_all_but(StageMemory::kRows);
  }
  return 0;
}
