#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/guarded.h"
#include "core/log.h"

namespace commissure {

/// Lets a few lines through at once and then so many a second, and counts those it keeps back: what anybody may cause
/// as fast as the network carries it must not fill a disk. Threading: any thread.
class LogLimiter {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr int kBurst = 20;
  static constexpr int kPerSecond = 5;

  /// How many lines were kept back since the last one that passed; nothing when this one is kept back too.
  std::optional<std::uint64_t> admit(Clock::time_point now);

 private:
  struct State {
    double n_free = kBurst;
    Clock::time_point last = {};
    std::uint64_t n_kept_back = 0;
  };
  Guarded<State> state_;
};

/// Writes a line that others can cause, as `limiter` lets it; it then says how many were left out before.
void log_limited(LogLimiter& limiter, Severity severity, std::string_view message, LogFields fields);

}  // namespace commissure
