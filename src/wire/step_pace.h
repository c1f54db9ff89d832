#pragma once

#include <algorithm>
#include <chrono>

namespace commissure {

/// How long steps take lately, to tell a slow chain from a dead one.
class StepPace {
 public:
  using Duration = std::chrono::steady_clock::duration;
  using Limit = std::chrono::milliseconds;

  void note(Duration took, int n_rows) {
    ++n_steps_;
    slowest_ = std::max(took, slowest_ - slowest_ / 64);  // an old extreme fades
    // Few rows take as long as the weights take to read: they say nothing of many.
    if (n_rows >= kManyRows) slowest_row_ = std::max(took / n_rows, slowest_row_ - slowest_row_ / 64);
  }

  /// A step of `n_rows` is lost when there was no sign of work on it for longer than this: many times the slowest step
  /// of late, within the two bounds (the upper one until there is something to judge by), or, if that is longer, twice
  /// what so many rows take at the slowest pace of late.
  Limit deadline(int n_rows, Limit floor, Limit ceiling) const {
    constexpr int kEnough = 16;
    constexpr int kTimes = 30;
    constexpr int kMostCeilings = 10;  // one outlier must not hide a dead stage for hours
    Limit limit = ceiling;
    if (n_steps_ >= kEnough && floor < ceiling) limit = std::clamp(whole(slowest_ * kTimes), floor, ceiling);
    return std::max(limit, std::min(whole(slowest_row_ * 2 * n_rows), ceiling * kMostCeilings));
  }

 private:
  static constexpr int kManyRows = 16;
  static Limit whole(Duration duration) { return std::chrono::duration_cast<Limit>(duration); }

  int n_steps_ = 0;
  Duration slowest_{0};
  Duration slowest_row_{0};
};

}  // namespace commissure
