#pragma once

#include <cstddef>

#include "support/failing.h"

namespace commissure {

/// While it lives, allocations of at least `n_bytes` throw std::bad_alloc. One at a time. Test programs link
/// failing_new.cc for it, and not under a sanitizer, which brings its own operator new.
class FailingNew {
 public:
  using Where = Failing::Where;

  explicit FailingNew(std::size_t n_bytes, Where where = Where::kOtherThreads);
  ~FailingNew();
  FailingNew(const FailingNew&) = delete;
  FailingNew& operator=(const FailingNew&) = delete;

  /// Allocations that failed.
  int n_failed() const;
};

}  // namespace commissure
