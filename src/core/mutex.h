#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <utility>

#include "core/thread_annotations.h"

/// The standard's locks and conditions as Clang's thread-safety analysis knows them; they cost nothing more. A mutex
/// that guards one value is a Guarded<T> (core/guarded.h).
namespace commissure {

class CAPABILITY("mutex") Mutex {
 public:
  void lock() ACQUIRE() { mutex_.lock(); }
  void unlock() RELEASE() { mutex_.unlock(); }

 private:
  friend class Condition;
  friend class StoppableCondition;
  std::mutex mutex_;
};

/// One that its thread may take again.
class CAPABILITY("mutex") RecursiveMutex {
 public:
  void lock() ACQUIRE() { mutex_.lock(); }
  void unlock() RELEASE() { mutex_.unlock(); }

 private:
  std::recursive_mutex mutex_;
};

/// Holds a mutex as long as it lives.
template <typename Lockable = Mutex>
class SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Lockable& mutex) ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() RELEASE() { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Lockable& mutex_;
};

/// Gives a held mutex back as long as it lives, for a call that takes locks of its own or a long time.
class SCOPED_CAPABILITY MutexUnlock {
 public:
  explicit MutexUnlock(Mutex& mutex) RELEASE(mutex) : mutex_(mutex) { mutex_.unlock(); }
  ~MutexUnlock() RELEASE() { mutex_.lock(); }
  MutexUnlock(const MutexUnlock&) = delete;
  MutexUnlock& operator=(const MutexUnlock&) = delete;

 private:
  Mutex& mutex_;
};

/// Waits under a held mutex until another thread has made a claim true. `claim` runs under the mutex.
class Condition {
 public:
  template <typename Claim>
  void wait(Mutex& mutex, Claim claim) REQUIRES(mutex) {
    std::unique_lock lock(mutex.mutex_, std::adopt_lock);
    changed_.wait(lock, std::move(claim));
    lock.release();
  }

  /// The claim, when it is true or `timeout` is over.
  template <typename Duration, typename Claim>
  bool wait_for(Mutex& mutex, Duration timeout, Claim claim) REQUIRES(mutex) {
    std::unique_lock lock(mutex.mutex_, std::adopt_lock);
    const bool is_true = changed_.wait_for(lock, timeout, std::move(claim));
    lock.release();
    return is_true;
  }

  void notify_one() { changed_.notify_one(); }
  void notify_all() { changed_.notify_all(); }

 private:
  std::condition_variable changed_;
};

/// A Condition whose waits also end when a stop is requested: with the claim as it is then.
class StoppableCondition {
 public:
  template <typename Claim>
  bool wait(Mutex& mutex, const std::stop_token& stop, Claim claim) REQUIRES(mutex) {
    std::unique_lock lock(mutex.mutex_, std::adopt_lock);
    const bool is_true = changed_.wait(lock, stop, std::move(claim));
    lock.release();
    return is_true;
  }

  template <typename Duration, typename Claim>
  bool wait_for(Mutex& mutex, const std::stop_token& stop, Duration timeout, Claim claim) REQUIRES(mutex) {
    std::unique_lock lock(mutex.mutex_, std::adopt_lock);
    const bool is_true = changed_.wait_for(lock, stop, timeout, std::move(claim));
    lock.release();
    return is_true;
  }

  template <typename Duration, typename Claim>
  bool wait_for(Mutex& mutex, Duration timeout, Claim claim) REQUIRES(mutex) {
    return wait_for(mutex, std::stop_token(), timeout, std::move(claim));
  }

  void notify_one() { changed_.notify_one(); }
  void notify_all() { changed_.notify_all(); }

 private:
  std::condition_variable_any changed_;
};

}  // namespace commissure
