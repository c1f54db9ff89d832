#pragma once

#include <cstddef>
#include <functional>
#include <thread>

#include "core/guarded.h"
#include "core/queue.h"
#include "core/result.h"

namespace commissure {

/// The thread of requests that bring images along: to encode one takes seconds, in which other requests must find the
/// HTTP server's threads free. It starts with the first such request.
/// Threading: any thread may call the public functions.
class ImageWorker {
 public:
  using Task = std::function<void()>;
  static constexpr std::size_t kMaxWaiting = 16;

  /// Runs `task`, which throws nothing, after those before it.
  /// Errors (`task` never runs): kResourceExhausted, as many wait as may; kUnavailable, the system grants no thread.
  Status submit(Task task);

  /// Waits for the task that runs; those that wait are dropped.
  ~ImageWorker();

 private:
  BoundedQueue<Task> tasks_{kMaxWaiting};
  Guarded<std::jthread> thread_;  // after what it uses
};

}  // namespace commissure
