#include "commands/suggestion.h"

#include <algorithm>

#include "core/spelling.h"

namespace commissure {

namespace {

std::vector<std::string> command_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App* one) { return !one->get_group().empty(); }))
    names.push_back(command->get_name());
  return names;
}

std::vector<std::string> flag_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

}  // namespace

std::string nearest(const std::string& word, const std::vector<std::string>& names) {
  if (word.size() > 40) return "";
  std::string best;
  int least = word.size() > 5 ? 3 : 2;  // one less is near enough
  for (const std::string& name : names) {
    const int distance = edit_distance(word, name);
    if (distance >= least) continue;
    least = distance;
    best = name;
  }
  return best;
}

std::string suggestion(const CLI::App& app, const std::vector<std::string>& arguments) {
  if (arguments.empty()) return "";
  const auto names = command_names(app);
  if (std::ranges::find(names, arguments[0]) == names.end()) {
    const std::string command = arguments[0].starts_with('-') ? "" : nearest(arguments[0], names);
    return command.empty() ? "" : "commissure " + command;
  }
  const auto flags = flag_names(*app.get_subcommand(arguments[0]));
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    const std::string flag = arguments[i].substr(0, arguments[i].find('='));
    if (!flag.starts_with("--") || std::ranges::find(flags, flag) != flags.end()) continue;
    return nearest(flag, flags);
  }
  return "";
}

}  // namespace commissure
