#include "apps/waking_link.h"

#include <thread>

namespace commissure {

namespace {

/// A chain that does not fit together, or a model that cannot be loaded, does not mend itself.
bool can_recover(const Error& error) {
  return error.code() == Code::kUnavailable || error.code() == Code::kDeadlineExceeded;
}

}  // namespace

Status WakingLink::wait_awake() {
  const auto deadline = std::chrono::steady_clock::now() + limit_;
  wake_();
  for (;;) {
    const Status health = chain_.health();
    if (health) break;
    if (!can_recover(health.error()) || stopping_ || std::chrono::steady_clock::now() > deadline) return health;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  awake_ = true;
  return {};
}

Status WakingLink::submit(StageInput input) {
  if (!awake_) TRY(wait_awake());
  return chain_.submit(std::move(input));
}

Status WakingLink::health() const {
  const Status health = chain_.health();
  if (health || awake_) return health;
  return can_recover(health.error()) ? Status() : health;
}

void WakingLink::stop() {
  stopping_ = true;
  chain_.stop();
}

}  // namespace commissure
