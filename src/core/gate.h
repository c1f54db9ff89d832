#pragma once

#include <functional>
#include <utility>

#include "core/mutex.h"

namespace commissure {

/// A callback that can be shut off: once close() has returned, no call is running and none will come.
/// Threading: any thread. Closing from inside the callback is allowed; that call then is the last.
template <typename... Arguments>
class Gate {
 public:
  explicit Gate(std::function<void(Arguments...)> callback) : callback_(std::move(callback)) {}

  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  /// False, and nothing called, when the gate is closed.
  bool call(Arguments... arguments) {
    const MutexLock lock(mutex_);
    if (closed_) return false;
    callback_(std::move(arguments)...);
    return true;
  }

  /// Calls for the last time. Where the callback throws, it was not the last.
  bool call_last(Arguments... arguments) {
    const MutexLock lock(mutex_);
    if (closed_) return false;
    closed_ = true;
    try {
      callback_(std::move(arguments)...);
    } catch (...) {
      closed_ = false;
      throw;
    }
    return true;
  }

  /// False when it was closed already. Waits for a call that is running on another thread.
  bool close() {
    const MutexLock lock(mutex_);
    return !std::exchange(closed_, true);
  }

 private:
  RecursiveMutex mutex_;  // recursive: the callback may close its own gate
  std::function<void(Arguments...)> callback_ GUARDED_BY(mutex_);
  bool closed_ GUARDED_BY(mutex_) = false;
};

}  // namespace commissure
