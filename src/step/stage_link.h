#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <variant>

#include "core/result.h"
#include "step/adapter.h"
#include "step/boundary.h"
#include "step/sampled_tokens.h"
#include "step/stage_plan.h"
#include "step/step_batch.h"

namespace commissure {

/// What a stage gets for one step. The boundary is empty on the first stage.
struct StageInput {
  StepBatch batch;
  Boundary boundary;
};

/// What a stage gives back for one step: rows for the next stage (with the batch they belong to) or, from the last
/// stage, the tokens. `timings` holds the timings of this stage and of the stages before it.
struct StageOutput {
  StepBatch batch;
  std::variant<Boundary, SampledTokens> value;
  std::vector<StageTiming> timings;
  std::vector<std::uint32_t> checksums = {};  ///< this stage's, until its link moves them into its timing
};

/// Errors that are about the stream rather than one step: all steps in flight have failed.
constexpr bool is_about_the_stream(Code code) {
  return code == Code::kUnavailable || code == Code::kDataLoss || code == Code::kDeadlineExceeded;
}

/// The caller's end of a stage: in this process (stage/local_link), in another (wire/grpc_link), several in a
/// row (step/chain_link), or a fake in a test.
///
/// Every submitted step is answered exactly once through the sink, in submission order, with an output or an error.
/// After an error that is about the stream (is_about_the_stream) the stages know no sequence any more and the caller
/// creates the sequences again. Stages outside lost() still have the keys and values of all answered steps, so there a
/// sequence goes on behind these rows.
class StageLink {
 public:
  /// Called on the link's own thread; must not block for long, must not call stop() and must not throw.
  using Sink = std::function<void(Result<StageOutput>)>;

  virtual ~StageLink() = default;

  /// Called once, before the first submit.
  virtual void start(Sink sink) = 0;

  /// Whether the link is ready to take or refuse a submit. If not, starts in the background what it needs for that
  /// (stages that load on first use) and returns false; the caller asks again later.
  virtual bool wake() { return true; }

  /// Hands one step over; waits while the stage's queue is full.
  /// Errors: kUnavailable, the stage cannot take steps now (the sink is not called for this step).
  virtual Status submit(StageInput input) = 0;

  /// Whether a submit would be accepted now; the error says why not, for /health and status.
  virtual Status health() const = 0;

  /// The stages that, as far as the link knows, lack keys and values of answered steps. Asked when health() is ok again
  /// after a stream ended or was moved.
  virtual StageSpan lost() const { return kAllStages; }

  /// Number of streams opened so far. When it grows while nothing was in flight, a stream was lost without an error to
  /// tell of it.
  virtual int n_streams() const { return 0; }

  /// Whether the link asks to be moved to a fresh stream. It still takes and answers steps for a while; the caller lets
  /// the steps in flight finish and then calls move().
  virtual bool wants_move() const { return false; }

  /// Moves a link that asked for it to a fresh stream, to whatever instance of the stage is there now. Called when
  /// nothing is in flight; the caller then creates its sequences again.
  virtual void move() {}

  /// Makes the stages keep their parts of an adapter, for slices that name it; a stage that has it answers at once.
  /// Returns the bytes it takes on the stage where it takes the most. Any thread; waits for files to be read.
  /// Errors: kInvalidArgument, the adapter does not fit the model, or a stage finds other files than stage A;
  /// kNotFound; kUnavailable, a stage is not ready; kResourceExhausted; kUnimplemented, the device or the model takes
  /// no adapters; kDeadlineExceeded; kCancelled, `stop` was requested. After an error some stages may keep it.
  virtual Result<std::uint64_t> load_adapter(const AdapterSource&, std::chrono::milliseconds /*timeout*/,
                                             const std::stop_token& /*stop*/) {
    return Error(Code::kUnimplemented, "this chain takes no adapters");
  }
  /// Makes the stages forget an adapter that no sequence uses any more. Any thread; errors are of no interest, since a
  /// stage that was not reached forgets it when it has no room.
  virtual void drop_adapter(AdapterId) {}

  /// Answers the steps in flight with kCancelled, then returns. The sink is not called after that.
  virtual void stop() = 0;
};

}  // namespace commissure
