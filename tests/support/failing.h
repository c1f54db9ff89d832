#pragma once

#include <pthread.h>

#include <atomic>

namespace commissure {

/// Whose requests for something fail while a test says so: those of all threads but the one that said it, or of that
/// one alone. One for each thing that can fail.
class Failing {
 public:
  enum class Where { kOtherThreads, kHere };

  void begin(Where where) {
    maker_ = pthread_self();
    is_here_ = where == Where::kHere;
    n_failed_ = 0;
    is_on_ = true;
  }
  void end() { is_on_ = false; }

  /// Whether this request of the calling thread fails; counted.
  bool fails() {
    if (!is_on_ || (pthread_equal(pthread_self(), maker_) != 0) != is_here_) return false;
    ++n_failed_;
    return true;
  }
  int n_failed() const { return n_failed_; }

 private:
  std::atomic<bool> is_on_ = false;
  std::atomic<bool> is_here_ = false;
  std::atomic<pthread_t> maker_ = {};
  std::atomic<int> n_failed_ = 0;
};

}  // namespace commissure
