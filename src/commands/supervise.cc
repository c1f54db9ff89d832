// The process behind `up --local`: it starts the stages of a chain, and each that dies again.
#include <memory>
#include <string>

#include "commands/command.h"
#include "local/supervisor.h"

namespace commissure {

CommandRun add_supervise(CLI::App& app) {
  auto name = std::make_shared<std::string>("local");
  app.add_option("--name", *name, "the chain's name");
  app.group("");  // not in the help: `up` starts it
  return [name]() -> Result<int> {
    TRY(run_supervisor(*name));
    return 0;
  };
}

}  // namespace commissure
