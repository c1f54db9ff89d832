#pragma once

#include <functional>
#include <variant>

#include "core/result.h"
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
/// stage, the tokens. `timings` holds this stage's and those before it.
struct StageOutput {
  StepBatch batch;
  std::variant<Boundary, SampledTokens> value;
  std::vector<StageTiming> timings;
  std::vector<std::uint32_t> checksums = {};  ///< of this stage, until its link puts them into its timing
};

/// Errors that are about the stream rather than one step: all steps in flight have failed.
constexpr bool is_about_the_stream(Code code) {
  return code == Code::kUnavailable || code == Code::kDataLoss || code == Code::kDeadlineExceeded;
}

/// The caller's end of a stage: in this process (stage/local_link), in another (wire/grpc_link), several in a
/// row (step/chain_link), or a fake in a test.
///
/// Every submitted step is answered exactly once through the sink, in submission order, with an output or an error.
/// After an error that is about the stream (is_about_the_stream) the stages know no sequence any more: the caller
/// recreates them, behind the rows of answered steps where lost() says that their keys and values are still there.
class StageLink {
 public:
  /// Called on the link's own thread; must not block for long and must not call stop().
  using Sink = std::function<void(Result<StageOutput>)>;

  virtual ~StageLink() = default;

  /// Called once, before the first submit.
  virtual void start(Sink sink) = 0;

  /// Whether the link is ready for a submit, to take or to refuse it; otherwise begins what that needs, in the
  /// background (stages that load on first use), and is to be asked again.
  virtual bool wake() { return true; }

  /// Hands one step over; waits while the stage's queue is full.
  /// Errors: kUnavailable, the stage cannot take steps now (the sink is not called for this step).
  virtual Status submit(StageInput input) = 0;

  /// Whether a submit would be accepted now; the error says why not, for /health and status.
  virtual Status health() const = 0;

  /// The stages that do not have the keys and values of all answered steps, as far as the link knows; asked after a
  /// stream ended or was moved, when health() is well again.
  virtual StageSpan lost() const { return kAllStages; }

  /// Streams opened so far; who sees it grow while nothing was in flight has not been told of a loss.
  virtual int n_streams() const { return 0; }

  /// Whether the link asks to be moved: it still takes steps and answers them, for a while. The caller finishes what is
  /// in flight and calls move().
  virtual bool wants_move() const { return false; }

  /// Nothing is in flight and the caller recreates its sequences: a link that asked for it goes over to a fresh stream,
  /// to whatever instance of the stage is there now.
  virtual void move() {}

  /// Answers what is in flight with kCancelled, then returns. No sink call after that.
  virtual void stop() = 0;
};

}  // namespace commissure
