#pragma once

#include <cstdlib>
#include <string_view>

namespace commissure::testing {

/// Whether tests that are slow and much like what else is tested run, too: `make test ALL=1`.
inline bool runs_all_tests() {
  const char* all = std::getenv("COMMISSURE_TEST_ALL");
  return all && std::string_view(all) == "1";
}

}  // namespace commissure::testing
