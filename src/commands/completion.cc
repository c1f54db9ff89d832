#include <fmt/format.h>

#include <memory>

#include "commands/command.h"
#include "commands/command_doc.h"
#include "commands/manual_page.h"
#include "commands/shell_completion.h"
#include "core/version.h"

namespace commissure {

CommandRun add_completion(CLI::App& app) {
  auto shell = std::make_shared<std::string>();
  app.add_option("SHELL", *shell, "the shell that is to complete")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  return [shell, program = app.get_parent()]() -> Result<int> {
    fmt::print("{}", TRY(shell_completion(read_command(*program), *shell)));
    return 0;
  };
}

CommandRun add_manual(CLI::App& app) {
  return [program = app.get_parent()]() -> Result<int> {
    fmt::print("{}", manual_page(read_command(*program), kVersion));
    return 0;
  };
}

}  // namespace commissure
