#pragma once

#include <chrono>
#include <optional>

namespace commissure {

/// When a stage that died is started again: at once at first, then later and later, and never once it keeps dying.
class RestartPolicy {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr int kMaxShortLives = 6;
  static constexpr std::chrono::seconds kShortLife{60};
  static constexpr std::chrono::milliseconds kFirstPause{100}, kLongestPause{10'000};

  void on_start(Clock::time_point now) { started_ = now; }

  /// When to start the stage that died at `now` again; empty once kMaxShortLives lives in a row were shorter than
  /// kShortLife.
  std::optional<Clock::time_point> on_death(Clock::time_point now);

  int short_lives() const { return short_lives_; }

 private:
  Clock::time_point started_ = {};
  int short_lives_ = 0;
};

}  // namespace commissure
