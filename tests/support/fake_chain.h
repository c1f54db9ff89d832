#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "step/stage_link.h"
#include "support/fake_tokenizer.h"

namespace commissure {

/// A whole chain for tests, with a toy model whose next token depends on every token of the sequence as the KV blocks
/// hold them: a lost, repeated, misplaced or overwritten row changes the answer. It obeys the contract of StageLink and
/// notes every frame that breaks the one of StepBatch in problem().
/// Threading: as StageLink; the test's thread may call the rest.
class FakeChain final : public StageLink {
 public:
  struct Fault {
    std::uint64_t at = 0;                 ///< fails the at-th step it gets (from 0), with
    Code code = Code::kUnavailable;       ///< a stream error (the chain forgets all) or a step error
    std::chrono::milliseconds outage{0};  ///< how long the chain is then down; max() until set_down(false)
    std::uint64_t n_steps = 1;            ///< as many in a row
    bool is_within = false;               ///< the first stage's own: no stream ends, and no stage loses its rows
  };

  explicit FakeChain(std::int32_t n_blocks) : cells_(static_cast<std::size_t>(n_blocks) * kBlockPositions, -1) {}
  ~FakeChain() override { stop(); }

  std::chrono::microseconds delay{0};
  int max_rows = 0;  ///< what a step may have; 0: any number
  /// What goes with a stream: all (kAllStages), nothing (empty), or a later stage, which gets its rows in rebuild steps
  /// and stands for all here: nothing is read that it was not given again.
  StageSpan loses = kAllStages;
  std::atomic<bool> is_waking = false;        ///< not ready for steps
  std::uint64_t max_age = 0;                  ///< steps after which a stream asks to be moved; 0: never
  std::vector<Fault> faults;                  ///< set before start
  std::function<void(SampledTokens&)> spoil;  ///< changes answers before they leave

  void start(Sink sink) override {
    sink_ = std::move(sink);
    thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
  }

  bool wake() override { return !is_waking; }

  /// A stream that is lost takes the adapters with it; a step that names another one is a problem.
  Result<std::uint64_t> load_adapter(const AdapterSource& source, std::chrono::milliseconds,
                                     const std::stop_token& stop) override {
    if (on_load) on_load(source, stop);
    const std::lock_guard lock(mutex_);
    ++n_loads_;
    if (stopped_ || is_down()) return Error(Code::kUnavailable, "the fake chain is down");
    if (source.path.starts_with("broken")) return Error(Code::kDataLoss, source.path, " is malformed");
    adapters_.insert(source.id);
    most_adapters_ = std::max(most_adapters_, adapters_.size());
    return adapter_bytes;
  }
  void drop_adapter(AdapterId id) override {
    const std::lock_guard lock(mutex_);
    adapters_.erase(id);
  }
  std::uint64_t adapter_bytes = 100;
  std::function<void(const AdapterSource&, const std::stop_token&)> on_load;  ///< set before start
  int n_loads() const {
    const std::lock_guard lock(mutex_);
    return n_loads_;
  }
  std::size_t most_adapters() const {
    const std::lock_guard lock(mutex_);
    return most_adapters_;
  }
  bool has_adapter(AdapterId id) const {
    const std::lock_guard lock(mutex_);
    return adapters_.contains(id);
  }

  Status submit(StageInput input) override {
    const std::lock_guard lock(mutex_);
    if (is_waking) note("a step came before the chain was awake");
    if (stopped_ || is_down()) return Error(Code::kUnavailable, "the fake chain is down");
    if (is_broken_) return Error(Code::kUnavailable, "the stream is another one than the caller knows");
    steps_.push_back(std::move(input.batch));
    wake_.notify_all();
    return {};
  }

  Status health() const override {
    const std::lock_guard lock(mutex_);
    if (stopped_ || is_down()) return Error(Code::kUnavailable, "the fake chain is down");
    is_broken_ = false;
    return {};
  }

  StageSpan lost() const override { return loses; }
  int n_streams() const override {
    const std::lock_guard lock(mutex_);
    return n_streams_;
  }
  /// A stream that breaks and comes back without a word.
  void break_unnoticed() {
    const std::lock_guard lock(mutex_);
    if (!steps_.empty()) note("broken with steps in flight");
    forget();
  }
  bool wants_move() const override {
    const std::lock_guard lock(mutex_);
    return (move_at_ > 0 && n_steps_ >= move_at_) || (max_age > 0 && n_steps_ - moved_at_ >= max_age);
  }
  /// A fresh stream: all is forgotten. Nothing may be in flight.
  void move() override {
    const std::lock_guard lock(mutex_);
    if (!steps_.empty()) note("moved with steps in flight");
    move_at_ = 0;
    moved_at_ = n_steps_;
    ++n_moves_;
    forget();
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

  /// Holds answers back while `hold`.
  void hold(bool hold) {
    const std::lock_guard lock(mutex_);
    held_ = hold;
    wake_.notify_all();
  }
  /// Asks to be moved once it has got so many steps.
  void ask_to_move(std::uint64_t after_steps) {
    const std::lock_guard lock(mutex_);
    move_at_ = after_steps;
  }
  int n_moves() const {
    const std::lock_guard lock(mutex_);
    return n_moves_;
  }
  /// Down until told otherwise.
  void set_down(bool down) {
    const std::lock_guard lock(mutex_);
    down_ = down;
  }
  /// Rows of rebuild steps so far.
  int n_rebuilt() const {
    const std::lock_guard lock(mutex_);
    return n_rebuilt_;
  }
  std::uint64_t n_steps() const {
    const std::lock_guard lock(mutex_);
    return n_steps_;
  }
  std::string problem() const {
    const std::lock_guard lock(mutex_);
    return problem_;
  }

 private:
  struct State {
    std::vector<BlockId> table;
    int n_rows = 0;
    std::optional<SamplingParams> params;
    AdapterUse adapter;
  };

  void forget() {
    ++n_streams_;
    sequences_.clear();
    adapters_.clear();
    if (!loses.empty()) std::ranges::fill(cells_, -1);
  }
  bool is_down() const { return down_ || std::chrono::steady_clock::now() < down_until_; }

  void run(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, stop, [&] { return !steps_.empty() && !held_; });
      if (stop.stop_requested()) break;
      const StepBatch batch = std::move(steps_.front());
      steps_.pop_front();
      if (delay.count() > 0) wake_.wait_for(lock, stop, delay, [] { return false; });
      std::vector<Result<StageOutput>> answers = answer(batch);
      lock.unlock();
      for (auto& each : answers) sink_(std::move(each));
      lock.lock();
    }
    for (std::size_t n = steps_.size(); n > 0; --n) {
      lock.unlock();
      sink_(Error(Code::kCancelled, "the fake chain was stopped"));
      lock.lock();
    }
  }

  /// The step's answer; after a stream error also those of all steps in the queue.
  std::vector<Result<StageOutput>> answer(const StepBatch& batch) {
    std::vector<Result<StageOutput>> answers;
    const std::uint64_t index = n_steps_++;
    for (const Fault& fault : faults) {
      if (index < fault.at || index - fault.at >= fault.n_steps) continue;
      const Error error(fault.code, "injected at step ", index);
      answers.emplace_back(error);
      if (fault.code == Code::kInternal || fault.code == Code::kInvalidArgument) return answers;
      for (; !steps_.empty(); steps_.pop_front()) answers.emplace_back(error);
      fault.is_within ? sequences_.clear() : forget();
      is_broken_ = true;
      if (fault.outage == std::chrono::milliseconds::max()) {
        down_ = true;
      } else {
        down_until_ = std::chrono::steady_clock::now() + fault.outage;
      }
      return answers;
    }
    if (const Status valid = validate(batch); !valid) note(valid.error().message());
    if (max_rows > 0 && batch.n_rows() > max_rows) note("a step exceeds the token budget");
    for (const SequenceId id : batch.released) sequences_.erase(id);
    SampledTokens tokens;
    tokens.step = batch.step;
    tokens.timings = {{"a", 1, 2, 3}};
    n_rebuilt_ += batch.is_rebuild() ? batch.n_rows() : 0;
    for (const SequenceRows& slice : batch.slices) tokens.results.push_back(run_slice(slice, batch.is_rebuild()));
    if (batch.is_rebuild()) written_.clear();  // the same rows again: shared blocks may get them twice
    check_sharing();
    if (spoil) spoil(tokens);
    answers.emplace_back(StageOutput{batch, tokens, tokens.timings});
    return answers;
  }

  SequenceResult run_slice(const SequenceRows& slice, bool is_rebuild) {
    State& state = sequences_[slice.sequence];
    if (slice.table_start == 0 && !slice.new_blocks.empty()) {
      state = {};
      state.n_rows = slice.first_position;  // what the blocks before it hold is part of every digest
    }
    if (std::cmp_not_equal(slice.table_start, state.table.size())) note("a table starts where none ends");
    if (slice.first_position != state.n_rows) note("rows are missing or repeated");
    state.table.insert(state.table.end(), slice.new_blocks.begin(), slice.new_blocks.end());
    if (slice.params) state.params = slice.params;
    if (slice.adapter && !adapters_.contains(slice.adapter.id)) note("a step names an adapter that was not loaded");
    state.adapter = slice.adapter;
    if (!state.params && !is_rebuild) note("no params for a sequence");

    SequenceResult result;
    result.sequence = slice.sequence;
    for (int r = 0; r < slice.n_rows(); ++r) {
      const std::size_t block = static_cast<std::size_t>(state.n_rows) / kBlockPositions;
      if (block >= state.table.size()) {
        note("a row has no block");
        return result;
      }
      written_[state.table[block]] = slice.sequence;
      cell(state, state.n_rows++) = slice.tokens[static_cast<std::size_t>(r)].value;
      if (!slice.targets.empty()) result.scored.push_back(score(state, slice.targets[static_cast<std::size_t>(r)]));
    }
    if (slice.sample) result.sampled = score(state, draw(state, slice.mask));
    return result;
  }

  std::int32_t& cell(const State& state, int position) {
    const BlockId block = state.table[static_cast<std::size_t>(position) / kBlockPositions];
    return cells_.at(static_cast<std::size_t>(block.value) * kBlockPositions +
                     static_cast<std::size_t>(position) % kBlockPositions);
  }

  std::uint64_t digest(const State& state) {
    std::uint64_t hash = 1469598103934665603u ^ state.adapter.id.value ^
                         (state.adapter ? static_cast<std::uint64_t>(state.adapter.scale * 1000) : 0);
    for (int p = 0; p < state.n_rows; ++p)
      hash = (hash ^ static_cast<std::uint64_t>(cell(state, p) + 7)) * 1099511628211u;
    return hash;
  }

  TokenId draw(const State& state, const TokenMask& mask) {
    const std::uint64_t seed = state.params ? state.params->seed : 0;
    std::mt19937_64 random(digest(state) ^ (seed * 0x9e3779b97f4a7c15u));
    if (!mask.empty()) {
      std::vector<TokenId> allowed;
      mask.each([&](TokenId token) { allowed.push_back(token); });
      return allowed[random() % allowed.size()];
    }
    const auto banned = [&](TokenId t) { return state.params && std::ranges::count(state.params->banned, t) > 0; };
    if (random() % 64 == 0 && !banned(TokenId(FakeTokenizer::kEos))) return TokenId(FakeTokenizer::kEos);
    return TokenId(static_cast<int>('a' + random() % 26));
  }

  ScoredToken score(const State& state, TokenId token) {
    const auto value = [&](int id) {
      return -1.0f - static_cast<float>((digest(state) + static_cast<unsigned>(id) * 31u) % 97u);
    };
    ScoredToken scored{{token, value(token.value)}, {}};
    for (int i = 0; state.params && i < state.params->n_logprobs; ++i) scored.top.push_back({TokenId(i), value(i)});
    return scored;
  }

  /// No block that a step wrote to is also in another sequence's table.
  void check_sharing() {
    for (const auto& [id, state] : sequences_) {
      for (const BlockId block : state.table) {
        const auto it = written_.find(block);
        if (it != written_.end() && it->second != id) note("a step wrote to a block of another sequence");
      }
    }
    written_.clear();
  }

  void note(std::string problem) {
    if (problem_.empty()) problem_ = std::move(problem);
  }

  Sink sink_;
  mutable std::mutex mutex_;
  std::condition_variable_any wake_;
  std::deque<StepBatch> steps_;
  std::map<SequenceId, State> sequences_;
  std::set<AdapterId> adapters_;
  int n_loads_ = 0;
  std::size_t most_adapters_ = 0;
  std::map<BlockId, SequenceId> written_;  // by the current step
  std::vector<std::int32_t> cells_;        // the token written to each position of each block
  std::chrono::steady_clock::time_point down_until_{};
  bool down_ = false;
  mutable bool is_broken_ = false;  ///< until the caller, who then knows, asks for health; steps before are refused
  bool held_ = false;
  bool stopped_ = false;
  std::uint64_t n_steps_ = 0;
  std::uint64_t move_at_ = 0;   // 0: never
  std::uint64_t moved_at_ = 0;  // steps before the current stream
  int n_moves_ = 0;
  int n_rebuilt_ = 0;
  int n_streams_ = 1;
  std::string problem_;
  std::jthread thread_;
};

}  // namespace commissure
