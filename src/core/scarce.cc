#include "core/scarce.h"

#include <atomic>
#include <vector>

namespace commissure {

Status try_threads(int n) {
  std::atomic<bool> may_end = false;
  std::vector<std::jthread> threads;
  Status granted;
  try {
    for (int i = 0; i < n; ++i) threads.emplace_back([&] { may_end.wait(false); });
  } catch (const std::system_error& error) {
    granted =
        Error(Code::kUnavailable, "the system grants no thread (", error.what(), "): it gave ", threads.size(), " of ",
              n, ". Raise the limits of memory (ulimit -v), of processes (ulimit -u) or of the container");
  }
  may_end = true;
  may_end.notify_all();
  return granted;
}

}  // namespace commissure
