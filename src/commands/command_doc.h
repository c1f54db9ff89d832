#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace commissure {

/// A flag of a command, or a value that stands by itself (then `names` is empty and `value` its name).
struct FlagDoc {
  std::vector<std::string> names = {};    ///< with their dashes, short ones first
  std::string value = {};                 ///< what follows it, "TEXT" or "INT"; "": nothing does
  std::vector<std::string> choices = {};  ///< all values there are; empty: others than a list can name
  std::string summary = {};
  bool takes_files = false;
};

/// A command as people read of it: from the definitions that its command line is parsed by, so that help, completions
/// and manual say the same.
struct CommandDoc {
  std::string name = {};
  std::string summary = {};
  std::string notes = {};  ///< examples and what else --help ends with
  std::vector<FlagDoc> flags = {};
  std::vector<CommandDoc> commands = {};  ///< those that --help lists
};

CommandDoc read_command(const CLI::App& app);

}  // namespace commissure
