#include "verify/reference_model.h"

#include <algorithm>
#include <future>

#include "core/index.h"
#include "hub/open_model.h"
#include "kernels/devices.h"
#include "plan/split_plan.h"
#include "serve/served_model.h"
#include "stage/local_link.h"
#include "step/stage_plan.h"

namespace commissure {

namespace {

constexpr int kMaxRows = 512;
constexpr std::chrono::minutes kLoadLimit{10};

/// Collects one request's events; `done` is fulfilled by the last.
struct Collector {
  VerifyAnswer answer;
  std::promise<Status> done;

  void take(const GenerationEvent& event) {
    for (const GeneratedToken& token : event.tokens) {
      answer.tokens.push_back(token.token);
      if (!token.score) continue;
      // The API's floor for "never", so that both sides show the same.
      const auto shown = [](float logprob) { return std::max(logprob, -9999.0f); };
      answer.logprobs.push_back(shown(token.score->chosen.logprob));
      auto& alternatives = answer.alternatives.emplace_back();
      for (const TokenLogprob& other : token.score->top) alternatives[other.token.value] = shown(other.logprob);
      alternatives[token.token.value] = answer.logprobs.back();
    }
    if (event.finish) done.set_value(event.error ? Status(Error(*event.error)) : Status());
  }
};

Result<VerifyAnswer> answer_one(Engine& engine, const VerifyCase& asked, int max_tokens) {
  Collector collector;
  auto done = collector.done.get_future();
  TRY(engine.submit(asked.request(max_tokens), [&](const GenerationEvent& event) { collector.take(event); }));
  TRY(done.get());
  return std::move(collector.answer);
}

SequenceRows rows_from(std::span<const TokenId> tokens, int first, int n, const KvShape& kv) {
  SequenceRows rows;
  rows.sequence = SequenceId(1);
  rows.first_position = first;
  rows.tokens.assign(tokens.begin() + first, tokens.begin() + first + n);
  // The whole table each time: the same blocks, so what earlier steps wrote stays.
  for (std::int32_t block = 0; block < kv.n_blocks; ++block) rows.new_blocks.emplace_back(block);
  for (std::int32_t block = 0; block < kv.n_window_blocks; ++block) rows.new_window_blocks.emplace_back(block);
  return rows;
}

}  // namespace

Result<std::unique_ptr<ReferenceModel>> ReferenceModel::load(const LocalModel& model, const ReferenceOptions& wanted) {
  std::unique_ptr<ReferenceModel> made(new ReferenceModel);
  made->checkpoint_ = TRY(open_model(model.location));
  DecoderSpec spec = TRY(read_decoder_spec(*made->checkpoint_));
  spec.precision = TRY(parse_precision(wanted.precision));
  spec.kv_type = TRY(parse_kv_type(wanted.kv_dtype));
  // A model that was written quantised is as the chain's stages are.
  if (made->checkpoint_->quantisation().empty()) {
    TRY(quantise_stages(*made->checkpoint_, spec, wanted.cuts, wanted.quants));
  }
  made->served_ = TRY(read_served_model(*made->checkpoint_, model, wanted.context));
  made->backend_ = TRY(make_device(wanted.device, {.n_threads = 0, .pin = false, .isa = wanted.isa})).backend;
  StageOptions options;
  options.model_name = model.name;
  options.max_rows = kMaxRows;
  options.n_kv_blocks = static_cast<std::int32_t>((wanted.context + kBlockPositions - 1) / kBlockPositions);
  const auto plans = TRY(plan_stages(spec.n_layers(), {}));
  made->stage_ = TRY(Stage::create(*made->backend_, *made->checkpoint_, spec, plans.front(), options));
  made->stage_->begin_load();
  TRY(made->stage_->wait_ready(kLoadLimit, {}));
  return made;
}

Result<std::vector<VerifyAnswer>> ReferenceModel::answer(const std::vector<VerifyCase>& cases, int max_tokens,
                                                         int max_step_rows, const std::function<void()>& on_done) {
  LocalLink link(*stage_);
  link.forget_all_but(StageMemory::kRows);  // of an earlier call
  EngineOptions options;
  options.max_sequences = 1;
  options.max_step_rows = std::min(max_step_rows, kMaxRows);
  options.n_kv_blocks = stage_->kv().n_blocks;
  options.n_window_blocks = stage_->kv().n_window_blocks;
  options.window = stage_->kv().window;
  options.keeps_states = stage_->kv().n_states > 0;
  options.n_layers = stage_->info().plan.n_model_layers;
  options.decode_slots = 1;
  const std::unique_ptr<Engine> engine = Engine::create(served_, options, link);
  std::vector<VerifyAnswer> answers;
  for (const VerifyCase& one : cases) {
    answers.push_back(TRY(answer_one(*engine, one, max_tokens)));
    on_done();
  }
  return answers;
}

Status ReferenceModel::sum_layers(std::span<const TokenId> tokens, std::vector<VerifyAnswer::Step>& steps) {
  Executor* const executor = TRY(stage_->wait_ready(kLoadLimit, {}));
  executor->forget_all_but(StageMemory::kRows);
  const int n_tokens = count_of(tokens);
  int n_computed = 0;
  std::uint64_t n_steps = 0;
  const auto run = [&](int first, int n, bool sum) -> Result<std::vector<std::uint32_t>> {
    StepBatch batch;
    batch.step = StepId(n_steps++);
    batch.slices.push_back(rows_from(tokens, first, n, stage_->kv()));
    batch.slices.front().sum_layers = sum;
    StageOutput output = TRY(executor->step({std::move(batch), {}}));
    n_computed = std::max(n_computed, first + n);
    return std::move(output.checksums);
  };
  for (VerifyAnswer::Step& step : steps) {
    if (step.position < 0 || step.n_rows < 1 || step.n_rows > kMaxRows || step.position > n_tokens - step.n_rows)
      return Error(Code::kDataLoss, "the chain's trace names rows that the answer does not have");
    // A recurrent state cannot be turned back: rows that come again are computed from the first one on.
    if (stage_->kv().n_states > 0 && step.position < n_computed) n_computed = 0;
    while (n_computed < step.position) {
      TRY(run(n_computed, std::min(kMaxRows, step.position - n_computed), false));
    }
    step.checksums = TRY(run(step.position, step.n_rows, true));
  }
  return {};
}

}  // namespace commissure
