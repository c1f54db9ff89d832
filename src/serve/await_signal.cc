#include "serve/await_signal.h"

namespace commissure {

sigset_t end_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

void block_end_signals() {
  const sigset_t signals = end_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

Result<int> await_signal(const sigset_t& signals, const std::function<Status()>& health,
                         std::chrono::milliseconds interval) {
  if (!health) {
    int received = 0;
    sigwait(&signals, &received);
    return received;
  }
  const timespec patience = {.tv_sec = interval.count() / 1000, .tv_nsec = interval.count() % 1000 * 1'000'000};
  for (;;) {
    const int received = sigtimedwait(&signals, nullptr, &patience);
    if (received > 0) return received;
    TRY(health());
  }
}

}  // namespace commissure
