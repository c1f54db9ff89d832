#include "serve/open_files.h"

#include <sys/resource.h>

#include <algorithm>
#include <limits>

namespace commissure {

namespace {

constexpr int kMostConnections = 8192;  // a bound on memory: an idle one holds a few KiB
constexpr int kOwnFiles = 128;

}  // namespace

int raise_open_file_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  const rlimit raised{limit.rlim_max, limit.rlim_max};
  if (limit.rlim_cur < limit.rlim_max && setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  return static_cast<int>(std::min<rlim_t>(limit.rlim_cur, std::numeric_limits<int>::max()));
}

int connections_within(int open_file_limit) {
  const int own = std::min(kOwnFiles, open_file_limit / 2);
  return std::clamp(open_file_limit - own, 1, kMostConnections);
}

}  // namespace commissure
