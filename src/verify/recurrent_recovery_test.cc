#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "stage/executor.h"
#include "stage/stage.h"
#include "support/engine_test_support.h"
#include "support/family_model.h"
#include "support/temp_folder.h"

// The whole way of a request through engine, scheduler and real stages of a model with recurrent states, on a chain
// that breaks in the worst places: with steps in flight that some stages have applied and others have not, with and
// without a stage that loses all it has.

namespace commissure::testing {
namespace {

/// Three stages run by one thread. At every `break_every`-th step all that is in flight comes to nothing: the first
/// stage has applied every step that waits, the second one step, the third none. Then `lost` begins anew.
class BreakingChain final : public StageLink {
 public:
  BreakingChain(const std::string& path, int break_every, int lost, std::int32_t n_blocks)
      : break_every_(break_every), lost_(lost), n_blocks_(n_blocks) {
    backend_ = *make_cpu_backend({.n_threads = 1, .isa = ""});
    checkpoint_ = *Checkpoint::open(path);
    spec_ = *read_decoder_spec(*checkpoint_);
    plans_ = *plan_stages(spec_.n_layers(), std::vector{1, 3});
    for (const StagePlan& plan : plans_) stages_.push_back(fresh(plan));
  }
  ~BreakingChain() override { stop(); }

  void start(Sink sink) override {
    sink_ = std::move(sink);
    thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
  }
  Status submit(StageInput input) override {
    const std::lock_guard lock(mutex_);
    if (stopped_ || is_broken_) return Error(Code::kUnavailable, "the stream is another one than the caller knows");
    steps_.push_back(std::move(input.batch));
    wake_.notify_all();
    return {};
  }
  Status health() const override {
    const std::lock_guard lock(mutex_);
    is_broken_ = false;
    return {};
  }
  StageSpan lost() const override { return lost_ < 0 ? StageSpan{} : StageSpan{lost_, lost_}; }
  int n_streams() const override {
    const std::lock_guard lock(mutex_);
    return 1 + n_breaks_;
  }
  void stop() override {
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
    }
    if (!thread_.joinable()) return;
    thread_.request_stop();
    wake_.notify_all();
    thread_.join();
  }
  int n_breaks() const {
    const std::lock_guard lock(mutex_);
    return n_breaks_;
  }
  /// Those with more than one step in flight, which the stages have applied in different numbers.
  int n_deep_breaks() const {
    const std::lock_guard lock(mutex_);
    return n_deep_breaks_;
  }
  std::string problem() const {
    const std::lock_guard lock(mutex_);
    return problem_;
  }

 private:
  std::unique_ptr<Stage> fresh(const StagePlan& plan) {
    const StageOptions options = {
        .model_name = "toy", .max_rows = 64, .n_kv_blocks = n_blocks_, .n_states = small_options().max_sequences};
    auto stage = std::move(*Stage::create(*backend_, *checkpoint_, spec_, plan, options));
    stage->begin_load();
    executor(*stage);
    return stage;
  }
  static Executor& executor(const Stage& stage) { return **stage.wait_ready(std::chrono::seconds(30), {}); }

  /// Through the first `n` stages.
  Result<StageOutput> pass(StepBatch batch, std::size_t n) {
    StageOutput output{.batch = std::move(batch), .value = Boundary(), .timings = {}};
    for (std::size_t i = 0; i < n; ++i) {
      Boundary boundary = std::get<Boundary>(std::move(output.value));
      output = TRY(executor(*stages_[i]).step({std::move(output.batch), std::move(boundary)}));
    }
    return output;
  }

  void run(const std::stop_token& stop) {
    while (true) {
      std::deque<StepBatch> waiting;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return stop.stop_requested() || !steps_.empty(); });
        if (stop.stop_requested()) break;
        // For steps to gather behind the first; at the end of the answers there may be none.
        wake_.wait_for(lock, std::chrono::milliseconds(20), [&] { return stop.stop_requested() || steps_.size() > 1; });
      }
      bool breaks = false;
      {
        const std::lock_guard lock(mutex_);
        breaks = break_every_ > 0 && ++n_steps_ % break_every_ == 0;
        if (breaks) is_broken_ = true;
        if (breaks && steps_.size() > 1) ++n_deep_breaks_;
        const auto n = breaks ? steps_.size() : 1;
        for (std::size_t i = 0; i < n; ++i) {
          waiting.push_back(std::move(steps_.front()));
          steps_.pop_front();
        }
      }
      breaks ? break_off(std::move(waiting)) : answer(std::move(waiting.front()));
    }
    const std::lock_guard lock(mutex_);
    for (; !steps_.empty(); steps_.pop_front()) sink_(Error(Code::kCancelled, "stopped"));
  }

  void answer(StepBatch batch) {
    Result<StageOutput> output = pass(std::move(batch), stages_.size());
    if (!output) note(output.error().to_string());
    if (!output && is_about_the_stream(output.error().code())) forget();
    sink_(std::move(output));
  }

  void break_off(std::deque<StepBatch> waiting) {
    for (std::size_t i = 0; i < waiting.size(); ++i) {
      const auto output = pass(waiting[i], i == 0 ? 2 : 1);
      if (!output) note(output.error().to_string());
    }
    if (lost_ >= 0) stages_[static_cast<std::size_t>(lost_)] = fresh(plans_[static_cast<std::size_t>(lost_)]);
    forget();
    for (std::size_t i = 0; i < waiting.size(); ++i) sink_(Error(Code::kUnavailable, "the stream broke"));
  }
  void forget() {
    for (const auto& stage : stages_) executor(*stage).forget_all_but(StageMemory::kRows);
    const std::lock_guard lock(mutex_);
    ++n_breaks_;
  }
  void note(const std::string& problem) {
    const std::lock_guard lock(mutex_);
    if (problem_.empty()) problem_ = problem;
  }

  const int break_every_, lost_;
  const std::int32_t n_blocks_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Checkpoint> checkpoint_;
  DecoderSpec spec_;
  std::vector<StagePlan> plans_;
  std::vector<std::unique_ptr<Stage>> stages_;
  Sink sink_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<StepBatch> steps_;
  bool stopped_ = false;
  mutable bool is_broken_ = false;
  int n_breaks_ = 0, n_deep_breaks_ = 0;
  int n_steps_ = 0;
  std::string problem_;
  std::jthread thread_;
};

class RecurrentRecovery : public ::testing::Test {
 protected:
  RecurrentRecovery() {
    const auto cases = family_cases(std::string(COMMISSURE_SOURCE_DIR) + "/tests/golden/families");
    const auto found = std::ranges::find(cases, "qwen35", &FamilyCase::name);
    write_family_safetensors(*found, folder_);
  }

  struct Outcome {
    std::vector<std::vector<GeneratedToken>> answers;
    EngineStats stats;
    int n_breaks = 0, n_deep_breaks = 0;
  };

  /// Three requests, prompts of one chunk and of several, at once.
  Outcome run(int break_every, int lost, std::int32_t n_blocks = 64, int n_tokens = 30) {
    BreakingChain chain(folder_.path(), break_every, lost, n_blocks);
    EngineOptions options = small_options();
    options.n_kv_blocks = n_blocks;
    options.keeps_states = true;
    options.steps_in_flight = 4;
    const auto engine = Engine::create(fake_model(), options, chain);
    std::vector<Collector> collectors(3);
    for (int i = 0; i < 3; ++i) {
      GenerationRequest request = make_request(20 + 70 * i, n_tokens, static_cast<std::uint64_t>(i) + 1);
      request.ignore_eos = true;
      request.sampling.temperature = 0.9f;
      request.sampling.n_logprobs = 2;
      EXPECT_TRUE(engine->submit(std::move(request), collectors[static_cast<std::size_t>(i)].sink()).has_value());
    }
    Outcome outcome;
    for (const Collector& collector : collectors) {
      const Answer& answer = collector.wait();
      EXPECT_EQ(answer.finish, FinishReason::kLength) << (answer.error ? answer.error->to_string() : "");
      outcome.answers.push_back(answer.tokens);
    }
    EXPECT_EQ(chain.problem(), "");
    outcome.stats = engine->stats();
    outcome.n_breaks = chain.n_breaks();
    outcome.n_deep_breaks = chain.n_deep_breaks();
    return outcome;
  }

  static void expect_same(const Outcome& a, const Outcome& b, const std::string& what) {
    ASSERT_EQ(a.answers.size(), b.answers.size());
    for (std::size_t i = 0; i < a.answers.size(); ++i) {
      ASSERT_EQ(a.answers[i].size(), b.answers[i].size()) << what;
      for (std::size_t t = 0; t < a.answers[i].size(); ++t) {
        ASSERT_EQ(a.answers[i][t].token, b.answers[i][t].token) << what << ", request " << i << ", token " << t;
        ASSERT_EQ(a.answers[i][t].score, b.answers[i][t].score) << what << ", request " << i << ", token " << t;
      }
    }
  }

  TempFolder folder_;
};

TEST_F(RecurrentRecovery, BreaksWithStepsHalfAppliedChangeNoToken) {
  const Outcome at_peace = run(0, -1);
  EXPECT_EQ(at_peace.n_breaks, 0);
  for (const int break_every : {5, 8}) {
    const Outcome broken = run(break_every, -1);
    EXPECT_GT(broken.n_breaks, 2);
    EXPECT_GT(broken.n_deep_breaks, 0);
    expect_same(broken, at_peace, "a break every " + std::to_string(break_every) + " steps");
  }
}

TEST_F(RecurrentRecovery, AStageThatLosesItsStatesChangesNoToken) {
  const Outcome at_peace = run(0, -1);
  for (const int lost : {1, 2}) {
    const Outcome broken = run(9, lost);
    EXPECT_GT(broken.n_breaks, 2);
    EXPECT_GT(broken.stats.replays, 0u);
    expect_same(broken, at_peace, "lost stage " + std::to_string(lost));
  }
}

TEST_F(RecurrentRecovery, SequencesThatArePreemptedAreComputedAgain) {
  const Outcome at_peace = run(0, -1, 64, 60);
  EXPECT_EQ(at_peace.stats.preemptions, 0u);
  const Outcome crowded = run(0, -1, 7, 60);
  EXPECT_GT(crowded.stats.preemptions, 0u);
  expect_same(crowded, at_peace, "preempted");
  expect_same(run(9, 1, 7, 60), at_peace, "preempted, broken and lost");
}

}  // namespace
}  // namespace commissure::testing
