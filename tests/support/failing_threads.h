#pragma once

namespace commissure {

/// While it lives, the system grants no thread: to any thread but the one that made it, or to that one alone. One at a
/// time. Test programs
/// link failing_threads.cc for it, and not under a sanitizer, which takes pthread_create for itself.
class FailingThreads {
 public:
  enum class Where { kOtherThreads, kHere };

  explicit FailingThreads(Where where = Where::kOtherThreads);
  ~FailingThreads();
  FailingThreads(const FailingThreads&) = delete;
  FailingThreads& operator=(const FailingThreads&) = delete;

  /// Threads that were refused.
  int n_failed() const;
};

}  // namespace commissure
