#include <memory>

#include "apps/chain_watch.h"
#include "apps/command.h"

namespace commissure {

namespace {

struct WarmOptions {
  std::string url;
  int timeout = 600;
};

}  // namespace

CommandRun add_warm(CLI::App& app) {
  auto options = std::make_shared<WarmOptions>();
  app.add_option("--url", options->url, "endpoint; default: the local chain, or COMMISSURE_URL");
  app.add_option("--timeout", options->timeout, "seconds to wait")->check(CLI::PositiveNumber);
  return [options]() -> Result<int> {
    const ApiAddress endpoint = TRY(find_api(options->url));
    const auto local = options->url.empty() ? TRY(read_local_state()) : std::nullopt;
    TRY(warm_chain(endpoint, local, std::chrono::seconds(options->timeout)));
    return 0;
  };
}

}  // namespace commissure
