#include <cstdio>

#include "apps/command.h"
#include "apps/local_chain.h"
#include "apps/local_state.h"

namespace commissure {

CommandRun add_down(CLI::App&) {
  return []() -> Result<int> {
    const auto state = TRY(read_local_state());
    if (!state) {
      std::printf("Nothing is running.\n");
      return 0;
    }
    stop_local_chain(*state);
    std::printf("Stopped %zu stage%s.\n", state->stages.size(), state->stages.size() == 1 ? "" : "s");
    return 0;
  };
}

}  // namespace commissure
