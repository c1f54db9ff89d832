#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <memory>
#include <string>

#include "cloud/work.h"
#include "commands/choice.h"
#include "commands/command.h"
#include "commands/outside.h"
#include "local/local_chain.h"
#include "terminal/stop_signal.h"

namespace commissure {

namespace {

struct DownOptions {
  CloudWorkOptions work;
  LocalChoice local;
  bool all = false;
  bool yes = false;
};

/// Weights may have taken hours to bring: ask before they go, and want it said where nobody can answer.
Result<bool> is_meant(const DownOptions& options) {
  if (!options.all || options.yes) return true;
  if (isatty(STDIN_FILENO) == 0) {
    return Error(Code::kInvalidArgument,
                 "--all deletes the bucket with the weights, the images, secrets and accounts; say that it is meant: "
                 "commissure down --all --yes");
  }
  std::fprintf(stderr, "This deletes the bucket with the weights, the images, secrets and accounts. Go on? [y/N] ");
  std::string answer;
  return std::getline(std::cin, answer) && (answer == "y" || answer == "yes");
}

Result<int> remove_deployment(const DownOptions& options) {
  if (!TRY(is_meant(options))) return 1;
  return with_cloud(options.work, cloud_outside(), [&](CloudExecutor& executor, CloudConsole& console) -> Result<int> {
    TRY(executor.remove(options.all));
    const bool nothing = executor.n_changes() == 0;
    console.say({{"event", "down"}, {"changes", executor.n_changes()}}, nothing ? "Nothing was there." : "Taken down.");
    return 0;
  });
}

Result<int> down(const DownOptions& options) {
  catch_stop_signals();
  const auto state = TRY(choose_local(options.local, options.work.choice));
  if (state) {
    auto lock = TRY(RunLock::take(state->chain.name));
    stop_local_chain(lock, *state);
    std::printf("Stopped %zu stage%s of the chain %s (%s at %s).\n", state->stages.size(),
                state->stages.size() == 1 ? "" : "s", state->chain.name.c_str(), state->chain.model_name.c_str(),
                state->url().c_str());
    return 0;
  }
  if (has_deployment_file(options.work.choice)) return remove_deployment(options);
  std::printf("Nothing is running.\n");
  return 0;
}

}  // namespace

CommandRun add_down(CLI::App& app) {
  auto options = std::make_shared<DownOptions>();
  add_local_flags(app, options->local);
  add_cloud_flags(app, options->work.choice);
  app.add_flag("--all", options->all, "on Google Cloud: also bucket, repository, secrets and accounts");
  app.add_flag("--yes,-y", options->yes, "do not ask before --all; needed where no terminal is");
  app.add_flag("--json", options->work.as_json, "on Google Cloud: one JSON object a line");
  return [options] { return down(*options); };
}

}  // namespace commissure
