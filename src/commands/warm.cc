#include <memory>

#include "client/chain_watch.h"
#include "commands/choice.h"
#include "commands/command.h"

namespace commissure {

namespace {

struct WarmOptions {
  ApiChoice api;
  int timeout = 600;
};

}  // namespace

CommandRun add_warm(CLI::App& app) {
  auto options = std::make_shared<WarmOptions>();
  add_api_flags(app, options->api);
  app.add_option("--timeout", options->timeout, "seconds to wait")->check(CLI::PositiveNumber);
  return [options]() -> Result<int> {
    const ApiAddress endpoint = TRY(find_api(options->api));
    const WatchedProcesses processes = processes_of(find_local_chain_at(endpoint.url));
    TRY(warm_chain(endpoint, processes, std::chrono::seconds(options->timeout)));
    return 0;
  };
}

}  // namespace commissure
