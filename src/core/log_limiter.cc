#include "core/log_limiter.h"

#include <algorithm>
#include <utility>

namespace commissure {

std::optional<std::uint64_t> LogLimiter::admit(Clock::time_point now) {
  return state_.with([&](State& state) -> std::optional<std::uint64_t> {
    const double seconds = std::chrono::duration<double>(now - state.last).count();
    state.n_free = std::min<double>(kBurst, state.n_free + kPerSecond * seconds);
    state.last = now;
    if (state.n_free < 1) {
      ++state.n_kept_back;
      return std::nullopt;
    }
    state.n_free -= 1;
    return std::exchange(state.n_kept_back, 0);
  });
}

void log_limited(LogLimiter& limiter, Severity severity, std::string_view message, LogFields fields) {
  const auto n_left_out = limiter.admit(LogLimiter::Clock::now());
  if (!n_left_out) return;
  if (*n_left_out > 0) fields.emplace_back("left_out", *n_left_out);
  log(severity, message, fields);
}

}  // namespace commissure
