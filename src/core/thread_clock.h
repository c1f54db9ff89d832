#pragma once

#include <ctime>

namespace commissure {

/// Seconds that the calling thread was on a CPU: what other threads take is not in it.
inline double thread_cpu_seconds() {
  timespec spent{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
  return static_cast<double>(spent.tv_sec) + 1e-9 * static_cast<double>(spent.tv_nsec);
}

}  // namespace commissure
