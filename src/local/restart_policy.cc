#include "local/restart_policy.h"

#include <algorithm>

namespace commissure {

std::optional<RestartPolicy::Clock::time_point> RestartPolicy::on_death(Clock::time_point now) {
  if (now - started_ >= kShortLife) short_lives_ = 0;
  if (++short_lives_ >= kMaxShortLives) return std::nullopt;
  return now + std::min<std::chrono::milliseconds>(kFirstPause * (1 << (short_lives_ - 1)), kLongestPause);
}

}  // namespace commissure
