#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>

namespace commissure {

/// How long a link waits before it connects again: twice as long after each failure in a row, with jitter, so that
/// stages that lost the same peer do not knock in step. Threading: one thread at a time.
class ReconnectPause {
 public:
  using Duration = std::chrono::milliseconds;

  ReconnectPause(Duration shortest, Duration longest, std::uint32_t seed)
      : shortest_(shortest), longest_(longest), ceiling_(shortest), random_(seed) {}

  /// The pause after an attempt, between half the ceiling and the whole ceiling. After an attempt that led somewhere
  /// the ceiling is the shortest pause; after each attempt that failed it doubles, up to the longest pause.
  Duration next(bool led_somewhere) {
    ceiling_ = led_somewhere ? shortest_ : std::min(ceiling_ * 2, longest_);
    return ceiling_ / 2 + ceiling_ * static_cast<int>(random_() % 100) / 200;
  }

 private:
  const Duration shortest_, longest_;
  Duration ceiling_;
  std::minstd_rand random_;
};

}  // namespace commissure
