#pragma once

#include "support/failing.h"

namespace commissure {

/// While it lives, the system grants no thread. One at a time. Test programs link failing_threads.cc for it, and not
/// under a sanitizer, which takes pthread_create for itself.
class FailingThreads {
 public:
  using Where = Failing::Where;

  explicit FailingThreads(Where where = Where::kOtherThreads);
  ~FailingThreads();
  FailingThreads(const FailingThreads&) = delete;
  FailingThreads& operator=(const FailingThreads&) = delete;

  /// Threads that were refused.
  int n_failed() const;
};

}  // namespace commissure
