#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <optional>
#include <stop_token>
#include <utility>

#include "core/mutex.h"

namespace commissure {

/// The only hand-over between threads: first in, first out, at most `capacity` items.
/// Threading: any thread may call any function.
template <typename T>
class BoundedQueue {
 public:
  explicit BoundedQueue(std::size_t capacity) : capacity_(capacity) {}

  BoundedQueue(const BoundedQueue&) = delete;
  BoundedQueue& operator=(const BoundedQueue&) = delete;

  /// Waits for room. False when `stop` is requested or the queue is closed. Then, and where there is no memory for it,
  /// `item` is untouched.
  bool push(T&& item, const std::stop_token& stop = {}) {
    {
      const MutexLock lock(mutex_);
      const auto may_go_on = [this]() REQUIRES(mutex_) { return closed_ || items_.size() < capacity_; };
      if (!room_.wait(mutex_, stop, may_go_on) || closed_) return false;
      items_.push_back(std::move(item));
    }
    filled_.notify_one();
    return true;
  }

  /// Never waits. False, and `item` untouched, when the queue is full or closed.
  bool try_push(T&& item) {
    {
      const MutexLock lock(mutex_);
      if (closed_ || items_.size() >= capacity_) return false;
      items_.push_back(std::move(item));
    }
    filled_.notify_one();
    return true;
  }

  /// Waits for an item. Empty when `stop` is requested, or the queue is closed and drained.
  std::optional<T> pop(const std::stop_token& stop = {}) {
    return take([&]() REQUIRES(mutex_) {
      filled_.wait(mutex_, stop, [this]() REQUIRES(mutex_) { return closed_ || !items_.empty(); });
    });
  }

  /// As pop, but gives up after `timeout`.
  std::optional<T> pop_for(std::chrono::milliseconds timeout, const std::stop_token& stop = {}) {
    return take([&]() REQUIRES(mutex_) {
      filled_.wait_for(mutex_, stop, timeout, [this]() REQUIRES(mutex_) { return closed_ || !items_.empty(); });
    });
  }

  std::optional<T> try_pop() {
    return take([] {});
  }

  /// No further pushes; pops drain what is left.
  void close() {
    {
      const MutexLock lock(mutex_);
      closed_ = true;
    }
    room_.notify_all();
    filled_.notify_all();
  }

  std::size_t size() const {
    const MutexLock lock(mutex_);
    return items_.size();
  }

 private:
  /// The oldest item, if there is one when `wait` returns.
  template <typename Wait>
  std::optional<T> take(Wait wait) {
    std::optional<T> item;
    {
      const MutexLock lock(mutex_);
      wait();
      if (items_.empty()) return item;
      item.emplace(std::move(items_.front()));
      items_.pop_front();
    }
    room_.notify_one();
    return item;
  }

  const std::size_t capacity_;
  mutable Mutex mutex_;
  StoppableCondition room_;
  StoppableCondition filled_;
  std::deque<T> items_ GUARDED_BY(mutex_);
  bool closed_ GUARDED_BY(mutex_) = false;
};

}  // namespace commissure
