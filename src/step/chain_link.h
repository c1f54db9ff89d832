#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <stop_token>
#include <vector>

#include "core/mutex.h"
#include "step/stage_link.h"

namespace commissure {

/// Two links in a row that act as one: what `first` puts out is submitted to `rest`, whose answers are the chain's.
/// Both links outlive the chain; a link may itself be a chain. Timings of `first` are put before those of `rest`, and
/// the time a step spent between the two (half of what `rest` does not account for) becomes the `wire_us` of the last
/// stage of `first`.
///
/// Threading: one thread submits. The hand-over runs on the thread that calls the sink of `first`, so a full queue
/// in `rest` holds `first` back; the chain's sink runs on the sink thread of either, never on both at once.
class ChainLink final : public StageLink {
 public:
  ChainLink(StageLink& first, StageLink& rest) : first_(first), rest_(rest) {}

  ChainLink(const ChainLink&) = delete;
  ChainLink& operator=(const ChainLink&) = delete;

  void start(Sink sink) override;
  Status submit(StageInput input) override;
  Status health() const override;
  StageSpan lost() const override { return first_.lost() | rest_.lost(); }
  int n_streams() const override { return first_.n_streams() + rest_.n_streams(); }
  bool wants_move() const override { return first_.wants_move() || rest_.wants_move(); }
  void move() override;
  /// Both load at the same time; the larger number of bytes counts, and of two errors that of `first`.
  Result<std::uint64_t> load_adapter(const AdapterSource& source, std::chrono::milliseconds timeout,
                                     const std::stop_token& stop) override;
  void drop_adapter(AdapterId id) override;
  void stop() override;

 private:
  enum class Place { kFirst, kRest, kDone };

  /// One step on its way, in the order of submission.
  struct Step {
    Place place = Place::kFirst;
    std::vector<StageTiming> timings = {};  ///< of `first`, once it is through
    std::chrono::steady_clock::time_point handed_over = {};
    std::optional<Error> doom = {};  ///< the stream broke while this step was on its way
    std::optional<Result<StageOutput>> answer = {};
  };

  void on_first(Result<StageOutput> output);
  void on_rest(Result<StageOutput> output);
  /// The oldest step at `place`: both links answer in submission order.
  Step& oldest(Place place) REQUIRES(mutex_);
  void finish(Step& step, Result<StageOutput> answer) REQUIRES(mutex_);
  /// Sends answers from the front to the sink, with the lock released around each call.
  void deliver() REQUIRES(mutex_);

  const Error stopping_error_{Code::kCancelled, "the pipeline is stopping"};
  const Error sampled_too_early_{Code::kFailedPrecondition,
                                 "a stage before the last one sampled: check the cuts of all stages"};
  StageLink& first_;
  StageLink& rest_;
  Sink sink_;
  Mutex mutex_;
  Condition delivered_;
  // A deque: references stay valid while others are pushed at the back.
  std::deque<Step> steps_ GUARDED_BY(mutex_);
  bool delivering_ GUARDED_BY(mutex_) = false;
  bool stopping_ GUARDED_BY(mutex_) = false;
};

}  // namespace commissure
