#pragma once

#include <utility>

#include "core/mutex.h"

namespace commissure {

/// A value that several threads share: it is reached only under its lock, for as short as the function runs.
template <typename T>
class Guarded {
 public:
  Guarded() = default;
  explicit Guarded(T value) : value_(std::move(value)) {}

  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  /// Runs `use(value)` under the lock; it must not reach for the same value again.
  template <typename Use>
  auto with(Use&& use) {
    const MutexLock lock(mutex_);
    return std::forward<Use>(use)(value_);
  }

  template <typename Use>
  auto with(Use&& use) const {
    const MutexLock lock(mutex_);
    return std::forward<Use>(use)(value_);
  }

  T copy() const {
    const MutexLock lock(mutex_);
    return value_;
  }

 private:
  mutable Mutex mutex_;
  T value_ GUARDED_BY(mutex_){};
};

}  // namespace commissure
