#include "core/check.h"

#include <cstdio>
#include <cstdlib>

namespace commissure {

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "commissure: broken invariant at %s:%d: %s\n", file, line, condition);
  std::abort();
}

}  // namespace commissure
