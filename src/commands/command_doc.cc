#include "commands/command_doc.h"

#include <sstream>

namespace commissure {
namespace {

/// Of a type's text, "TEXT:{a,b}", the values in braces.
std::vector<std::string> choices_in(const std::string& type) {
  const auto open = type.find('{'), close = type.rfind('}');
  std::vector<std::string> choices;
  if (open == std::string::npos || close == std::string::npos) return choices;
  std::istringstream list(type.substr(open + 1, close - open - 1));
  for (std::string choice; std::getline(list, choice, ',');) choices.push_back(choice);
  return choices;
}

/// Flags that take a file or folder say so by the name of their value, by their check, or in the first words.
bool names_files(const CLI::Option& option, const std::string& type) {
  const std::string& summary = option.get_description();
  const auto has = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
  return has(type, "FILE") || has(type, "DIR") || has(type, "PATH") || has(summary.substr(0, 40), "file") ||
         has(summary.substr(0, 40), "folder");
}

FlagDoc read_flag(const CLI::Option& option) {
  FlagDoc flag{.summary = option.get_description()};
  for (const std::string& name : option.get_snames()) flag.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) flag.names.push_back("--" + name);
  if (option.get_items_expected_max() == 0) return flag;
  const std::string type = option.get_type_name();
  flag.value = flag.names.empty() ? option.get_name() : type.substr(0, type.find_first_of(": "));
  if (flag.value.empty()) flag.value = "VALUE";
  flag.choices = choices_in(type);
  flag.takes_files = flag.choices.empty() && names_files(option, type);
  return flag;
}

}  // namespace

CommandDoc read_command(const CLI::App& app) {
  CommandDoc doc{.name = app.get_name(), .summary = app.get_description(), .notes = app.get_footer()};
  for (const CLI::Option* option : app.get_options()) {
    if (!option->get_group().empty()) doc.flags.push_back(read_flag(*option));
  }
  for (const CLI::App* command : app.get_subcommands([](const CLI::App* one) { return !one->get_group().empty(); }))
    doc.commands.push_back(read_command(*command));
  return doc;
}

}  // namespace commissure
