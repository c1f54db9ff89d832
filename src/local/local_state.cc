#include "local/local_state.h"

#include <fstream>
#include <sstream>

#include "core/json.h"
#include "terminal/file_checks.h"
#include "terminal/paths.h"
#include "terminal/subprocess.h"

namespace commissure {

namespace {

std::filesystem::path state_file() { return local_dir() / "state.json"; }

Json to_json(const LocalState& state) {
  Json stages = Json::array();
  for (const StageProcess& stage : state.stages) {
    stages.push_back({{"name", stage.name}, {"pid", stage.pid}, {"start_time", stage.start_time}, {"log", stage.log}});
  }
  return {{"model", state.model},
          {"model_name", state.model_name},
          {"cuts", state.cuts},
          {"port", state.port},
          {"stages", stages}};
}

LocalState from_json(const Json& json) {
  LocalState state;
  state.model = json.at("model").get<std::string>();
  state.model_name = json.at("model_name").get<std::string>();
  state.cuts = json.at("cuts").get<std::vector<int>>();
  state.port = json.at("port").get<int>();
  for (const Json& item : json.at("stages")) {
    state.stages.push_back({item.at("name").get<std::string>(), item.at("pid").get<int>(),
                            item.at("start_time").get<unsigned long long>(), item.at("log").get<std::string>()});
  }
  return state;
}

}  // namespace

std::filesystem::path local_dir() { return run_dir() / "local"; }

Result<std::optional<LocalState>> read_local_state() {
  std::ifstream file(state_file());
  if (!file) return std::optional<LocalState>();
  std::stringstream text;
  text << file.rdbuf();
  const auto broken = [&](std::string_view why) {
    return Error(Code::kDataLoss, state_file().string(), " is broken (", why, "); end the stages by hand and remove ",
                 local_dir().string());
  };
  const auto json = parse_json(text.str());
  if (!json) return broken(json.error().message());
  try {
    return std::optional(from_json(*json));
  } catch (const Json::exception& error) {
    return broken(error.what());
  }
}

Status write_local_state(const LocalState& state) {
  const std::filesystem::path fresh = state_file().string() + ".new";
  {
    std::ofstream file(fresh, std::ios::trunc);
    file << pretty_json(to_json(state)) << '\n';
    if (!file.flush()) return Error(Code::kResourceExhausted, "cannot write ", fresh.string());
  }
  return rename_file(fresh, state_file());
}

bool is_alive(const StageProcess& stage) { return process_start_time(stage.pid) == std::optional(stage.start_time); }

std::string last_log_line(const std::string& path) {
  std::ifstream file(path, std::ios::ate);
  if (!file) return "";
  const std::streamoff size = file.tellg();
  const std::streamoff tail = std::min<std::streamoff>(size, 4096);
  file.seekg(size - tail);
  std::string line, last;
  while (std::getline(file, line)) {
    if (!line.empty()) last = line;
  }
  return last.substr(0, 300);
}

Status check_alive(const LocalState& state) {
  for (const StageProcess& stage : state.stages) {
    if (is_alive(stage)) continue;
    return Error(Code::kUnavailable, "stage ", stage.name, " ended: ", last_log_line(stage.log),
                 " (whole log: commissure logs --stage ", stage.name, ")");
  }
  return {};
}

}  // namespace commissure
