#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <thread>

#include "core/core_lease.h"
#include "core/queue.h"
#include "stage/stage.h"
#include "stage/step_spans.h"
#include "step/stage_link.h"

namespace commissure {

struct LocalLinkOptions {
  /// How many steps may wait; one more makes submit() wait. As many as may be unanswered on a stream, so that a step
  /// taken from the stream finds room.
  std::size_t queue_capacity = 32;
  std::chrono::milliseconds load_timeout{120'000};  ///< how long the first submit waits for the weights
  CoreLease* lease = nullptr;                       ///< taken around every step when set; outlives the link
  /// Takes the stage's spans of each step with traced slices, after the step's answer, on the executor thread. Absent:
  /// stage A makes this stage's spans.
  std::function<void(std::vector<Span>)> on_spans = {};
};

/// A stage in this process as a StageLink: one executor thread behind one bounded queue. The sink is called on the
/// executor thread. A stage is served by one link.
class LocalLink final : public StageLink {
 public:
  /// `stage` outlives the link.
  explicit LocalLink(Stage& stage, LocalLinkOptions options = {});
  ~LocalLink() override;

  LocalLink(const LocalLink&) = delete;
  LocalLink& operator=(const LocalLink&) = delete;

  void start(Sink sink) override;
  /// The first submit loads a cold stage and waits for it.
  Status submit(StageInput input) override;
  Status health() const override;
  void stop() override;
  /// Does not load a cold stage.
  Result<std::uint64_t> load_adapter(const AdapterSource& source, std::chrono::milliseconds /*timeout*/,
                                     const std::stop_token& /*stop*/) override {
    return stage_.load_adapter(source);
  }
  void drop_adapter(AdapterId id) override { stage_.drop_adapter(id); }

  StageSpan lost() const override { return {}; }

  /// A count that rises while a step is computed. Any thread.
  std::uint64_t n_done() const { return stage_.n_done(); }
  /// Whether it rose since the last call, or a step waits for its turn on shared cores. One thread at a time.
  bool gets_on();

  /// Before the next step, as Executor. Any thread.
  void forget_all_but(StageMemory left);

 private:
  using Clock = std::chrono::steady_clock;
  struct Item {
    StageInput input;
    Clock::time_point arrived;
  };
  void run(const std::stop_token& stop);
  Result<StageOutput> run_step(Item item, const std::stop_token& stop);
  /// Fails the current step and what waits in the queue: those steps belong to lost sequences.
  void fail_stream(const Error& error);

  Stage& stage_;
  const LocalLinkOptions options_;
  Sink sink_;
  BoundedQueue<Item> queue_;
  std::atomic<StageMemory> left_ = StageMemory::kSequences;  // before the next step
  std::atomic<bool> waits_for_cores_ = false;
  std::uint64_t n_done_ = 0;  // as gets_on saw it
  std::stop_source stop_;
  StepSpans spans_;  // the executor thread's
  std::jthread thread_;
};

}  // namespace commissure
