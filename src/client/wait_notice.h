#pragma once

#include <chrono>
#include <string>
#include <thread>

#include "client/client.h"
#include "core/guarded.h"

namespace commissure {

/// Tells on standard error what a chain waits for, whenever nothing has come from it for a second: which stage, and
/// what is with it. On a terminal in one line, which goes away when something comes; elsewhere a line for each change.
/// Threading: any thread.
class WaitNotice {
 public:
  enum class Tell {
    kAlways,   ///< also when all stages are ready and only compute
    kTrouble,  ///< only when a stage is not ready: for work with a progress line of its own
  };
  WaitNotice(ApiAddress endpoint, Tell tell);
  ~WaitNotice();
  WaitNotice(const WaitNotice&) = delete;
  WaitNotice& operator=(const WaitNotice&) = delete;

  /// Something came.
  void progress();

 private:
  using Clock = std::chrono::steady_clock;
  struct Shown {
    Clock::time_point last = Clock::now();
    std::string text;
  };
  void watch(const std::stop_token& stop);
  void clear(Shown& shown) const;

  const ApiAddress endpoint_;
  const Tell tell_;
  const bool on_terminal_;
  Guarded<Shown> shown_;
  std::jthread thread_;  // last: it uses the others
};

/// "stage b: loading 43%", of what /health says; "" when all stages are ready.
std::string awaited_text(const Result<Json>& health);

}  // namespace commissure
