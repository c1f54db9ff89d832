#pragma once

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "commands/command.h"

namespace commissure::testing {

/// How a subcommand ended, and what it printed.
struct CommandOutcome {
  int status = 0;       ///< exit status; 1 when it failed, 2 when the parser refused its flags
  std::string out;      ///< standard output
  std::string err;      ///< standard error
  std::string problem;  ///< what main would print of its error; "" when it has none
};

/// Runs a subcommand in this process as main does.
inline CommandOutcome run_command(CommandRun (*add)(CLI::App&), std::vector<std::string> arguments) {
  CLI::App app("", "command");
  const CommandRun run = add(app);
  std::vector<const char*> argv = {"command"};
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  CommandOutcome outcome;
  try {
    app.parse(static_cast<int>(argv.size()), argv.data());
  } catch (const CLI::ParseError& error) {
    return {.status = 2, .out = "", .err = "", .problem = error.what()};
  }
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  const auto status = run();
  outcome.out = ::testing::internal::GetCapturedStdout();
  outcome.err = ::testing::internal::GetCapturedStderr();
  outcome.status = status ? *status : 1;
  if (!status) outcome.problem = status.error().message();
  return outcome;
}

}  // namespace commissure::testing
