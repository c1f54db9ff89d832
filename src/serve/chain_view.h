#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <vector>

#include "core/guarded.h"
#include "core/json.h"
#include "wire/stage_client.h"

namespace commissure {

/// What stage A tells of the whole chain in /health. It asks the stages behind it only when to_json() is called, so
/// that an idle chain stays idle. A call waits for their answer only where the last answer is old or about to change,
/// and only for a moment.
/// Threading: any thread.
class ChainView {
 public:
  /// `next` is null on a chain of one stage; `self` and `next` outlive the view.
  ChainView(LocalStage self, StageClient* next)
      : self_(std::move(self)), next_(next), shared_(std::make_shared<Shared>()) {}

  /// {"stages": [...]}: this stage as it is now, the others as they answered within the last seconds, or as they
  /// answered last if a new answer takes long.
  Json to_json();

 private:
  using Clock = std::chrono::steady_clock;
  /// Outlives the view while an answer is on its way: shared with the callback.
  struct Shared {
    Guarded<std::vector<StageInfo>> others;
    std::atomic<bool> asking = false;
    std::atomic<Clock::rep> answered = 0;
  };
  void refresh();

  const LocalStage self_;
  StageClient* const next_;
  const std::shared_ptr<Shared> shared_;
};

}  // namespace commissure
