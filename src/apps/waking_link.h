#pragma once

#include <atomic>
#include <chrono>
#include <functional>

#include "step/stage_link.h"

namespace commissure {

/// The whole chain as stage A's engine sees it, loading on first use: a cold chain counts as well, the first step wakes
/// all stages and waits for them; later the chain's own health counts. Threading: as StageLink.
class WakingLink final : public StageLink {
 public:
  /// `wake` starts loading everywhere and returns at once; `chain` outlives this.
  WakingLink(StageLink& chain, std::function<void()> wake, std::chrono::milliseconds limit)
      : chain_(chain), wake_(std::move(wake)), limit_(limit) {}

  void start(Sink sink) override { chain_.start(std::move(sink)); }
  Status submit(StageInput input) override;
  Status health() const override;
  StageSpan lost() const override { return chain_.lost(); }
  int n_streams() const override { return chain_.n_streams(); }
  bool wants_move() const override { return chain_.wants_move(); }
  void move() override { chain_.move(); }
  void stop() override;

  /// Whether a step submitted now would wait for stages to load.
  bool is_waking() const { return !chain_.health(); }

 private:
  /// Waits until the chain is well for the first time. Errors: the chain's, once `limit` is over or it can only fail.
  Status wait_awake();

  StageLink& chain_;
  const std::function<void()> wake_;
  const std::chrono::milliseconds limit_;
  std::atomic<bool> awake_ = false;
  std::atomic<bool> stopping_ = false;
};

}  // namespace commissure
