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

  /// After an attempt that led to something or, if not, one more that failed: between half a ceiling and the whole of
  /// it. The ceiling is the shortest pause after the former and doubles, up to the longest, after the latter.
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
