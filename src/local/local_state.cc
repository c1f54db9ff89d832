#include "local/local_state.h"

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <limits>
#include <sstream>
#include <utility>

#include "core/index.h"
#include "terminal/file_checks.h"
#include "terminal/own_folder.h"
#include "terminal/paths.h"
#include "terminal/subprocess.h"

namespace commissure {

namespace {

namespace fs = std::filesystem;

fs::path state_file(const std::string& name) { return local_dir(name) / "state.json"; }

Json process_json(const ProcessId& process) { return {{"pid", process.pid}, {"start_time", process.start_time}}; }

/// A whole number in its range; the library alone would make some int of any number.
Result<int> whole(const Json& object, const char* key, int least, int most = std::numeric_limits<int>::max()) {
  const Json& value = object.at(key);
  const auto number = value.is_number_unsigned() ? value.get<std::uint64_t>() : ~std::uint64_t{0};
  if (std::cmp_greater_equal(number, least) && std::cmp_less_equal(number, most)) return static_cast<int>(number);
  return Error(Code::kDataLoss, key, " is no whole number from ", least, " to ", most);
}

Result<ProcessId> process_from(const Json& json) {
  ProcessId process;
  process.pid = TRY(whole(json, "pid", 0));
  const Json& start = json.at("start_time");
  if (!start.is_number_unsigned()) return Error(Code::kDataLoss, "start_time is no whole number");
  process.start_time = start.get<unsigned long long>();
  return process;
}

/// Where the chain is cut: layers that rise from 1 to below n_layers. Whoever shows a stage counts on it.
Result<std::vector<int>> cuts_from(const Json& list, int n_layers) {
  std::vector<int> cuts;
  for (const Json& cut : list) {
    const int least = cuts.empty() ? 1 : cuts.back() + 1;
    if (!cut.is_number_unsigned() || cut.get<std::uint64_t>() < to_size(least) ||
        cut.get<std::uint64_t>() >= to_size(n_layers)) {
      return Error(Code::kDataLoss, "cuts do not rise from 1 to below ", n_layers);
    }
    cuts.push_back(cut.get<int>());
  }
  return cuts;
}

Result<LocalState> from_json(const Json& json) {
  LocalState state;
  LocalChainOptions& chain = state.chain;
  chain.name = json.at("name").get<std::string>();
  chain.model = json.at("model").get<std::string>();
  chain.model_name = json.at("model_name").get<std::string>();
  chain.n_layers = TRY(whole(json, "n_layers", 1));
  chain.cuts = TRY(cuts_from(json.at("cuts"), chain.n_layers));
  chain.host = json.at("host").get<std::string>();
  chain.port = TRY(whole(json, "port", 1, 65535));
  chain.stage_flags = json.at("stage_flags").get<std::vector<std::string>>();
  chain.restarts = json.at("restarts").get<bool>();
  state.supervisor = TRY(process_from(json.at("supervisor")));
  state.started = json.at("started").get<bool>();
  for (const Json& item : json.at("stages")) {
    state.stages.push_back({item.at("name").get<std::string>(), TRY(process_from(item)),
                            item.at("log").get<std::string>(), TRY(whole(item, "deaths", 0)),
                            item.at("last_death").get<std::string>(), item.at("given_up").get<bool>()});
  }
  if (state.stages.size() != chain.cuts.size() + 1) return Error(Code::kDataLoss, "stages and cuts differ");
  return state;
}

}  // namespace

std::pair<int, int> LocalChainOptions::layers(std::size_t index) const {
  return {index == 0 ? 0 : cuts[index - 1], index < cuts.size() ? cuts[index] : n_layers};
}

std::string LocalChainOptions::url() const {
  std::string address = host;
  if (host == "0.0.0.0" || host.empty()) address = "127.0.0.1";
  if (host == "::") address = "::1";
  if (address.find(':') != std::string::npos && address.front() != '[') address = "[" + address + "]";
  return "http://" + address + ":" + std::to_string(port);
}

bool is_alive(const ProcessId& process) {
  return process.pid > 0 && process_start_time(process.pid) == std::optional(process.start_time);
}

fs::path local_dir(const std::string& name) { return run_dir() / name; }

Status check_chain_name(const std::string& name) {
  const auto is_fit = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  };
  if (!name.empty() && name.size() <= 24 && std::ranges::all_of(name, is_fit)) return {};
  return Error(Code::kInvalidArgument, "\"", name,
               "\" cannot name a chain; take up to 24 letters, digits, hyphens and underscores");
}

Json local_state_json(const LocalState& state) {
  Json stages = Json::array();
  for (const StageProcess& stage : state.stages) {
    Json item = {{"name", stage.name}};
    item.update(process_json(stage.process));
    item.update(
        {{"log", stage.log}, {"deaths", stage.deaths}, {"last_death", stage.last_death}, {"given_up", stage.given_up}});
    stages.push_back(std::move(item));
  }
  const LocalChainOptions& chain = state.chain;
  return {{"name", chain.name},
          {"model", chain.model},
          {"model_name", chain.model_name},
          {"cuts", chain.cuts},
          {"n_layers", chain.n_layers},
          {"host", chain.host},
          {"port", chain.port},
          {"stage_flags", chain.stage_flags},
          {"restarts", chain.restarts},
          {"supervisor", process_json(state.supervisor)},
          {"started", state.started},
          {"stages", stages}};
}

Result<LocalState> parse_local_state(const std::string& text) {
  const Json json = TRY(parse_json(text));
  try {
    return from_json(json);
  } catch (const Json::exception& error) {
    return Error(Code::kDataLoss, error.what());
  }
}

Result<std::optional<LocalState>> read_local_state(const std::string& name) {
  TRY(check_own_folder(run_dir()));
  std::ifstream file(state_file(name));
  if (!file) return std::optional<LocalState>();
  std::stringstream text;
  text << file.rdbuf();
  auto state = parse_local_state(text.str());
  if (state) {
    state->chain.name = name;  // what its folder is called
    return std::optional(std::move(*state));
  }
  return Error(Code::kDataLoss, state_file(name).string(), " is broken (", state.error().message(),
               "); end the stages by hand and remove ", local_dir(name).string());
}

Status write_local_state(const LocalState& state) {
  const fs::path file = state_file(state.chain.name);
  const fs::path fresh = file.string() + ".new";
  {
    std::ofstream out(fresh, std::ios::trunc);
    out << pretty_json(local_state_json(state)) << '\n';
    if (!out.flush())
      return Error(Code::kResourceExhausted, "cannot write ", fresh.string(), "; is the disk full, or read-only?");
  }
  return rename_file(fresh, file);
}

Result<std::vector<LocalState>> read_local_states() {
  TRY(check_own_folder(run_dir()));
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(run_dir(), ignored)) {
    if (check_chain_name(entry.path().filename().string())) names.push_back(entry.path().filename().string());
  }
  std::ranges::sort(names);
  std::vector<LocalState> states;
  for (const std::string& name : names) {
    if (auto state = TRY(read_local_state(name))) states.push_back(std::move(*state));
  }
  return states;
}

Result<std::optional<LocalState>> find_local_chain(const std::string& name) {
  if (!name.empty()) {
    TRY(check_chain_name(name));
    return read_local_state(name);
  }
  std::vector<LocalState> states = TRY(read_local_states());
  if (states.empty()) return std::optional<LocalState>();
  if (states.size() == 1) return std::optional(std::move(states.front()));
  std::string all;
  for (const LocalState& state : states)
    all += (all.empty() ? "" : ", ") + state.chain.name + " (" + state.chain.model_name + " at " + state.url() + ")";
  return Error(Code::kFailedPrecondition, "several chains are here: ", all, "; say which with --name");
}

std::optional<LocalState> find_local_chain_at(const std::string& url) {
  const auto states = read_local_states();
  if (!states) return std::nullopt;
  const auto found = std::ranges::find_if(*states, [&](const LocalState& state) { return state.url() == url; });
  return found == states->end() ? std::nullopt : std::optional(*found);
}

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

}  // namespace commissure
