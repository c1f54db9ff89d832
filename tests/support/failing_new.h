#pragma once

#include <cstddef>

namespace commissure {

/// While it lives, allocations of at least `n_bytes` throw std::bad_alloc: on all threads but the one that made it, or
/// on that one alone. One at a time. Test programs link failing_new.cc for it, and not under a sanitizer, which brings
/// its own operator new.
class FailingNew {
 public:
  enum class Where { kOtherThreads, kHere };

  explicit FailingNew(std::size_t n_bytes, Where where = Where::kOtherThreads);
  ~FailingNew();
  FailingNew(const FailingNew&) = delete;
  FailingNew& operator=(const FailingNew&) = delete;

  /// Allocations that failed.
  int n_failed() const;
};

}  // namespace commissure
