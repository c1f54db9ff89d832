#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <vector>

#include "core/guarded.h"
#include "core/json.h"
#include "wire/stage_client.h"

namespace commissure {

/// What stage A tells of the whole chain in /health. Asks the stages behind it only when somebody looks, so that an
/// idle chain stays idle, and keeps a server thread waiting for a moment at most, where what it knows is old or
/// about to change.
/// Threading: any thread.
class ChainView {
 public:
  /// `next` is null on a chain of one stage; both outlive the view.
  ChainView(LocalStage self, StageClient* next)
      : self_(std::move(self)), next_(next), shared_(std::make_shared<Shared>()) {}

  /// {"stages": [...]}: this stage as it is now, the others as of an answer of the last seconds, or the last one if
  /// they are slow to give a new one.
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
