#include <csignal>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "cloud/watch.h"
#include "commands/choice.h"
#include "commands/command.h"
#include "commands/outside.h"
#include "local/local_state.h"

namespace commissure {

namespace {

struct LogsOptions {
  bool follow = false;
  std::string stage;
  int n_lines = 40;
  CloudChoice choice;
  LocalChoice local;
};

/// Prints what a log gained since `position`; whole lines, each with the stage's letter when several are shown.
void print_new(const StageProcess& stage, bool with_name, std::streamoff& position) {
  std::ifstream file(stage.log);
  file.seekg(position);
  std::string line;
  while (std::getline(file, line)) {
    if (file.eof()) break;  // an unfinished line comes next time
    position = file.tellg();
    if (with_name) std::printf("%s | ", stage.name.c_str());
    std::printf("%s\n", line.c_str());
  }
  std::fflush(stdout);
}

/// Lines that have ended; one that is still written comes with the next print.
std::streamoff start_of_last_lines(const std::string& path, int n_lines) {
  std::ifstream file(path);
  std::vector<std::streamoff> starts = {0};
  std::string line;
  while (std::getline(file, line) && !file.eof()) starts.push_back(file.tellg());
  const int first = static_cast<int>(starts.size()) - 1 - n_lines;
  return first > 0 ? starts[static_cast<std::size_t>(first)] : 0;
}

Result<int> show_logs(const LogsOptions& options) {
  const auto state = TRY(choose_local(options.local, options.choice));
  if (!state && has_deployment_file(options.choice))
    return show_cloud_logs({options.choice, options.stage, options.n_lines, options.follow}, cloud_outside());
  if (!state) return Error(Code::kNotFound, "nothing is running here; start it with: commissure up --local");
  std::map<std::string, std::streamoff> positions;
  std::vector<StageProcess> stages;
  for (const StageProcess& stage : state->stages) {
    if (options.stage.empty() || options.stage == stage.name) stages.push_back(stage);
  }
  if (stages.empty())
    return Error(Code::kNotFound, "there is no stage ", options.stage, "; the last one is ", state->stages.back().name);
  for (const StageProcess& stage : stages) positions[stage.name] = start_of_last_lines(stage.log, options.n_lines);
  do {
    for (const StageProcess& stage : stages) print_new(stage, stages.size() > 1, positions[stage.name]);
    if (options.follow) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  } while (options.follow && TRY(read_local_state(state->chain.name)).has_value());
  return 0;
}

}  // namespace

CommandRun add_logs(CLI::App& app) {
  auto options = std::make_shared<LogsOptions>();
  app.add_flag("-f,--follow", options->follow, "keep printing what comes, until the chain is down");
  app.add_option("--stage", options->stage, "only this stage (a, b, ...)");
  app.add_option("-n,--lines", options->n_lines, "how many last lines (of each stage on this machine)")
      ->check(CLI::NonNegativeNumber);
  add_local_flags(app, options->local);
  add_cloud_flags(app, options->choice);
  return [options] { return show_logs(*options); };
}

}  // namespace commissure
