#pragma once

#include <chrono>
#include <string>
#include <thread>

#include "client/client.h"
#include "core/guarded.h"

namespace commissure {

/// While it lives, it says on standard error what an answer waits for once nothing has come for a second: the stage,
/// and what that stage does. On a terminal this is one line, which is wiped as soon as something comes; elsewhere a new
/// line is printed each time the text changes. A thread of its own asks /health, twice a second at most. Threading: any
/// thread.
class WaitNotice {
 public:
  enum class Tell {
    kAlways,   ///< speaks also while all stages are ready and computing
    kTrouble,  ///< speaks only while a stage is not ready: for work that shows its own progress
  };
  WaitNotice(ApiAddress endpoint, Tell tell);
  ~WaitNotice();
  WaitNotice(const WaitNotice&) = delete;
  WaitNotice& operator=(const WaitNotice&) = delete;

  /// To be called whenever something came from the chain: wipes the line, and the second begins again.
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

/// What an answer waits for, from the body of /health: "stage b: loading 43%" of the first stage that is not ready; ""
/// when all are. An error in place of the body gives its message.
std::string awaited_text(const Result<Json>& health);

}  // namespace commissure
