#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <stop_token>
#include <thread>
#include <vector>

#include "core/guarded.h"
#include "core/queue.h"
#include "core/result.h"

namespace commissure {

/// The thread of requests that bring images along: to encode one takes seconds, in which other requests must find the
/// HTTP server's threads free. It starts with the first such request.
/// Threading: any thread may call the public functions; no function of a task calls them, is_stopping() apart.
class ImageWorker {
 public:
  /// One request. Its functions throw nothing; once it is accepted, either `run` or `refuse` is called.
  struct Task {
    std::function<void()> run;
    std::function<bool()> is_gone = {};                 ///< whether its client has left; empty: it stays
    std::function<void(const Error& why)> refuse = {};  ///< it will not run; empty: nobody has to know
  };
  static constexpr std::size_t kMaxWaiting = 16;

  /// Runs `task` after those before it, unless its client leaves (refused with kCancelled). Those whose clients have
  /// left make room.
  /// Errors (nothing of `task` is called): kResourceExhausted, as many wait as may; kUnavailable, the system grants no
  /// thread, or stop() was called.
  Status submit(Task task);

  /// Refuses those that wait with kUnavailable, and waits for the one that runs. Nothing happens the second time.
  void stop();

  /// Whether stop() was called; the functions of a task may ask.
  bool is_stopping() const { return is_stopping_; }

  ~ImageWorker() { stop(); }

 private:
  struct Runner {
    std::jthread thread;
    bool is_stopped = false;
  };

  static void refuse(const Task& task, const Error& why);
  void run(const std::stop_token& stop);
  /// Takes out those whose clients have left. Under the lock of `runner_`, so that no other task comes in between.
  std::vector<Task> take_gone();

  std::atomic<bool> is_stopping_ = false;
  BoundedQueue<Task> tasks_{kMaxWaiting};
  Guarded<Runner> runner_;  // after what its thread uses
};

}  // namespace commissure
