#include "core/scarce.h"

#include <atomic>
#include <vector>

#include "core/index.h"

namespace commissure {

namespace {

/// Lets threads end, however the scope is left that waits for them.
class LetEnd {
 public:
  explicit LetEnd(std::atomic<bool>& may_end) : may_end_(may_end) {}
  LetEnd(const LetEnd&) = delete;
  LetEnd& operator=(const LetEnd&) = delete;
  ~LetEnd() {
    may_end_ = true;
    may_end_.notify_all();
  }

 private:
  std::atomic<bool>& may_end_;
};

}  // namespace

Status try_threads(int n) {
  std::atomic<bool> may_end = false;
  int n_granted = 0;
  const bool is_granted = done_unless_scarce([&] {
    std::vector<std::jthread> threads;
    threads.reserve(to_size(n));
    const LetEnd let_end(may_end);  // goes before the threads, which are waited for
    for (; n_granted < n; ++n_granted) threads.emplace_back([&] { may_end.wait(false); });
  });
  if (is_granted) return {};
  const auto told = [&]() -> Status {
    return Error(Code::kUnavailable, "the system grants no thread (it gave ", n_granted, " of ", n,
                 "): raise the limits of memory (ulimit -v), of processes (ulimit -u) or of the container");
  };
  return unless_scarce(told, []() -> Status { return no_memory(Code::kUnavailable); });
}

}  // namespace commissure
