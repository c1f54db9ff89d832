#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <type_traits>

#include "core/check.h"
#include "sched/scheduler.h"

// What the scheduler adds to a step: planning it and taking its answer, without stages, engine and text.

namespace commissure {
namespace {

constexpr int kVocabulary = 50'000;
constexpr int kPrompt = 128;
constexpr int kMaxTokens = 512;

SequenceSpec make_sequence(std::uint64_t id) {
  SequenceSpec spec;
  spec.id = SequenceId(id);
  for (int i = 0; i < kPrompt; ++i) spec.prompt.emplace_back(static_cast<int>((id * 7919 + i * 31) % kVocabulary));
  spec.max_tokens = kMaxTokens;
  return spec;
}

SchedulerOptions make_options(int n_sequences) {
  SchedulerOptions options;
  options.max_sequences = n_sequences;
  options.n_kv_blocks = 4 * n_sequences * blocks_for(kPrompt + kMaxTokens);
  options.n_vocabulary = kVocabulary;
  options.max_slowdown = 2.5;
  return options;
}

SampledTokens answer(const StepBatch& batch) {
  SampledTokens tokens;
  tokens.step = batch.step;
  for (const SequenceRows& slice : batch.slices) {
    SequenceResult& result = tokens.results.emplace_back();
    result.sequence = slice.sequence;
    if (slice.sample) result.sampled = ScoredToken{{TokenId(static_cast<int>(batch.step.value % kVocabulary)), -1}, {}};
  }
  return tokens;
}

/// Sequences that decode; each that has all its tokens makes room for a new one, whose prompt is paced beside the rest.
class Load {
 public:
  explicit Load(int n_sequences) : n_sequences_(n_sequences), scheduler_(make_options(n_sequences)) {}

  /// One step; the time that the scheduler took for it.
  std::chrono::duration<double> step() {
    add_when_due();
    took_ = {};
    const std::optional<StepBatch> batch = timed([&] { return scheduler_.next_step(); });
    CHECK(batch.has_value());
    const SampledTokens tokens = answer(*batch);
    const auto progress = timed([&] { return scheduler_.commit(tokens, std::chrono::milliseconds(20)); });
    CHECK(progress.has_value());
    for (const Progress& made : *progress) {
      if (!made.sampled || ++n_tokens_.at(made.sequence) < kMaxTokens) continue;
      timed([&] { return scheduler_.remove(made.sequence), 0; });
      n_tokens_.erase(made.sequence);
    }
    return took_;
  }

 private:
  /// Spread, so that sequences do not all end in one step.
  void add_when_due() {
    if (n_steps_++ % (kMaxTokens / n_sequences_) != 0 || std::ssize(n_tokens_) >= n_sequences_) return;
    n_tokens_[SequenceId(next_id_)] = 0;
    CHECK(scheduler_.add(make_sequence(next_id_++)).has_value());
  }

  template <typename Work>
  std::invoke_result_t<const Work&> timed(const Work& work) {
    const auto start = std::chrono::steady_clock::now();
    auto result = work();
    took_ += std::chrono::steady_clock::now() - start;
    return result;
  }

  const int n_sequences_;
  Scheduler scheduler_;
  std::map<SequenceId, int> n_tokens_;  // of those that run
  std::uint64_t next_id_ = 1;
  std::int64_t n_steps_ = 0;
  std::chrono::duration<double> took_{};
};

void step(benchmark::State& state) {
  Load load(static_cast<int>(state.range(0)));
  for (int i = 0; i < 2 * kMaxTokens; ++i) load.step();  // until all run
  double longest_us = 0;
  for ([[maybe_unused]] auto _ : state) {
    const std::chrono::duration<double> took = load.step();
    longest_us = std::max(longest_us, 1e6 * took.count());
    state.SetIterationTime(took.count());
  }
  state.counters["longest_us"] = longest_us;
}
BENCHMARK(step)->Arg(1)->Arg(16)->Arg(64)->Arg(256)->Iterations(10'000)->UseManualTime()->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace commissure

BENCHMARK_MAIN();
