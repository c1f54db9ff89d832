#include "serve/waking_link.h"

namespace commissure {

namespace {

/// A chain that does not fit together, or a model that cannot be loaded, does not mend itself.
bool can_recover(const Error& error) {
  return error.code() == Code::kUnavailable || error.code() == Code::kDeadlineExceeded;
}

}  // namespace

bool WakingLink::wake() {
  if (awake_) return true;
  const auto now = std::chrono::steady_clock::now();
  if (!since_) {
    since_ = now;
    begin_loading_();
  }
  const Status health = chain_.health();
  if (!health && can_recover(health.error()) && now < *since_ + limit_) return false;
  awake_ = true;
  return true;
}

Status WakingLink::health() const {
  const Status health = chain_.health();
  return health || awake_ || !can_recover(health.error()) ? health : Status();
}

}  // namespace commissure
