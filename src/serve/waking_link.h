#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <optional>

#include "step/stage_link.h"

namespace commissure {

/// The chain as stage A's engine sees it when its stages load on first use. Until the chain has been ready once,
/// health() is ok, unless it has been loading for longer than `limit`; from then on health() is the chain's own,
/// whether anybody asked for a step or not. Threading: as StageLink.
class WakingLink final : public StageLink {
 public:
  /// `begin_loading` makes every stage start to load and returns at once; `chain` outlives this object.
  WakingLink(StageLink& chain, std::function<void()> begin_loading, std::chrono::milliseconds limit)
      : chain_(chain), begin_loading_(std::move(begin_loading)), limit_(limit) {}

  void start(Sink sink) override { chain_.start(std::move(sink)); }
  /// False while the chain loads, at most until the limit.
  bool wake() override;
  Status submit(StageInput input) override { return chain_.submit(std::move(input)); }
  Status health() const override;
  StageSpan lost() const override { return chain_.lost(); }
  int n_streams() const override { return chain_.n_streams(); }
  bool wants_move() const override { return chain_.wants_move(); }
  void move() override { chain_.move(); }
  Result<std::uint64_t> load_adapter(const AdapterSource& source, std::chrono::milliseconds timeout,
                                     const std::stop_token& stop) override {
    return chain_.load_adapter(source, timeout, stop);
  }
  void drop_adapter(AdapterId id) override { chain_.drop_adapter(id); }
  void stop() override { chain_.stop(); }

  /// Whether a step would wait for stages to load.
  bool is_waking() const { return !chain_.health(); }

 private:
  StageLink& chain_;
  const std::function<void()> begin_loading_;
  const std::chrono::milliseconds limit_;
  std::optional<std::chrono::steady_clock::time_point> since_;  // when loading began
  mutable std::atomic<bool> awake_ = false;                     // well once, or given up
};

}  // namespace commissure
