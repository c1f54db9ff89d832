#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace commissure::testing {

/// Waits for a condition that another thread brings about; false when it never comes.
bool eventually(auto condition, std::chrono::seconds patience = std::chrono::seconds(20)) {
  const auto end = std::chrono::steady_clock::now() + patience;
  std::mutex mutex;
  std::condition_variable never;
  std::unique_lock lock(mutex);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    never.wait_for(lock, std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace commissure::testing
