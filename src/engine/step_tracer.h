#pragma once

#include <chrono>
#include <deque>
#include <unordered_map>
#include <vector>

#include "engine/generation.h"
#include "step/step_batch.h"

namespace commissure {

/// For requests that ask for a trace: keeps where the time of each of their steps went, and tells the stages which rows
/// belong to a trace. Costs nothing for other requests. Steps come in the order in which they are submitted. Threading:
/// the scheduler thread.
class StepTracer {
 public:
  void begin(SequenceId sequence, const GenerationRequest& asked);

  /// To be called before a step goes out: marks in it the rows whose checksums are wanted and the rows that belong to a
  /// trace.
  void on_submit(StepBatch& batch);
  /// To be called when the oldest step came back.
  void on_answer(const std::vector<StageTiming>& timings);
  /// To be called when the oldest (or newest) step does not count, since its sequences are computed again.
  void drop_oldest();
  void drop_newest();

  /// The finished trace of a sequence, oldest step first; empty for a sequence that asked for none.
  std::vector<StepTrace> take(SequenceId sequence);

 private:
  using Clock = std::chrono::steady_clock;
  struct Rows {
    SequenceId sequence;
    StepTrace trace;
    bool is_linked;         ///< the stages know of its trace
    int summed_slice = -1;  ///< place among the step's slices with checksums
  };
  struct Step {
    Clock::time_point submitted;
    std::int64_t started_unix_ns = 0;  ///< once a row is traced
    std::size_t n_summed = 0;
    std::vector<Rows> rows = {};
  };
  struct Request {
    TraceLevel level = TraceLevel::kNone;
    std::optional<SliceTrace> link = {};  ///< without the slice
    std::size_t n_linked = 0;
    std::vector<StepTrace> steps = {};
  };

  std::unordered_map<SequenceId, Request> requests_;
  std::deque<Step> in_flight_;
};

}  // namespace commissure
