#pragma once

#include <algorithm>
#include <chrono>

namespace commissure {

/// How long steps take lately, to tell a slow chain from a dead one.
class StepPace {
 public:
  using Duration = std::chrono::steady_clock::duration;

  void note(Duration took) {
    ++n_steps_;
    slowest_ = std::max(took, slowest_ - slowest_ / 64);  // an old extreme fades
  }

  /// A step that waits longer than this will not be answered: many times the slowest of late, within the two bounds;
  /// the upper one until there is something to judge by.
  std::chrono::milliseconds deadline(std::chrono::milliseconds floor, std::chrono::milliseconds ceiling) const {
    constexpr int kEnough = 16;
    constexpr int kTimes = 30;
    if (n_steps_ < kEnough || floor >= ceiling) return ceiling;
    return std::clamp(std::chrono::duration_cast<std::chrono::milliseconds>(slowest_ * kTimes), floor, ceiling);
  }

 private:
  int n_steps_ = 0;
  Duration slowest_{0};
};

}  // namespace commissure
