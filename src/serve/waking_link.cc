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
  // With a stream to the stages behind it was ready, so what ends from here on is an outage. A chain of one stage is
  // well while it is cold, too.
  if (health && chain_.n_streams() > 0) awake_ = true;
  return health || awake_ || !can_recover(health.error()) ? health : Status();
}

}  // namespace commissure
