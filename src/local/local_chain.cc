#include "local/local_chain.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "terminal/paths.h"
#include "terminal/subprocess.h"

namespace commissure {

namespace {

namespace fs = std::filesystem;

std::string joined(const std::vector<int>& cuts) {
  std::string text;
  for (const int cut : cuts) text += (text.empty() ? "" : ",") + std::to_string(cut);
  return text;
}

/// Only what is public goes into arguments; the API key reaches the stages through the inherited environment.
SubprocessOptions stage_command(const LocalChainOptions& options, int index) {
  const int n_stages = static_cast<int>(options.cuts.size()) + 1;
  const std::string name(1, static_cast<char>('a' + index));
  SubprocessOptions command;
  command.arguments = {own_executable().string(), "stage", "--stage", name, "--model", options.model, "--model-name",
                       options.model_name,        "--lazy"};
  auto& arguments = command.arguments;
  const auto add = [&](std::initializer_list<std::string> more) { arguments.insert(arguments.end(), more); };
  if (!options.cuts.empty()) add({"--cuts", joined(options.cuts)});
  if (n_stages > 1) add({"--lease", (local_dir() / "lease").string()});
  if (index + 1 < n_stages) add({"--next", "unix:" + stage_socket(index + 1)});
  if (index == 0) {
    add({"--host", "127.0.0.1", "--port", std::to_string(options.port)});
  } else {
    add({"--listen", "unix:" + stage_socket(index)});
  }
  arguments.insert(arguments.end(), options.stage_flags.begin(), options.stage_flags.end());
  // The contract's variables of our own environment must not leak into the stages.
  for (const char* variable : {"STAGE", "CUTS", "PORT", "NEXT_ENDPOINT", "MODEL_DIR"})
    command.environment.emplace_back(variable, "");
  command.output = local_dir() / (name + ".log");
  command.new_session = true;
  return command;
}

Result<StageProcess> start_stage(const LocalChainOptions& options, int index) {
  const SubprocessOptions command = stage_command(options, index);
  fs::remove(stage_socket(index));
  const pid_t pid = TRY(start_process(command));
  StageProcess stage{std::string(1, static_cast<char>('a' + index)), pid, 0, command.output.string()};
  const auto start_time = process_start_time(pid);
  if (!start_time) {
    return Error(Code::kInternal, "stage ", stage.name, " ended at once: ", last_log_line(stage.log));
  }
  stage.start_time = *start_time;
  return stage;
}

}  // namespace

std::string stage_socket(int index) {
  return (local_dir() / (std::string(1, static_cast<char>('a' + index)) + ".sock")).string();
}

Status check_port_free(int port) {
  const int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (probe < 0) return {};  // the server itself will say
  const int yes = 1;
  setsockopt(probe, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  const bool free = bind(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  close(probe);
  if (free) return {};
  return Error(Code::kAlreadyExists, "port ", port, " is in use by another program; choose another one with --port");
}

Result<LocalState> start_local_chain(const LocalChainOptions& options) {
  TRY(check_port_free(options.port));
  std::error_code problem;
  fs::remove_all(local_dir(), problem);
  fs::create_directories(local_dir(), problem);
  if (problem) return Error(Code::kPermissionDenied, "cannot create ", local_dir().string(), ": ", problem.message());
  fs::permissions(local_dir(), fs::perms::owner_all, problem);
  if (stage_socket(25).size() > 100) {  // sun_path holds 107 bytes
    return Error(Code::kInvalidArgument, local_dir().string(),
                 " is too long for a socket's path; set COMMISSURE_RUN_DIR to a shorter one");
  }

  LocalState state{options.model, options.model_name, options.cuts, options.port, {}};
  for (int index = static_cast<int>(options.cuts.size()); index >= 0; --index) {
    auto stage = start_stage(options, index);
    if (!stage) {
      stop_local_chain(state);
      return Error(stage.error());
    }
    state.stages.insert(state.stages.begin(), *stage);
    TRY(write_local_state(state));  // after each: an interrupted start can be cleaned up
  }
  return state;
}

Status revive_local_chain(LocalState& state, const LocalChainOptions& options) {
  for (int index = static_cast<int>(state.stages.size()) - 1; index >= 0; --index) {
    StageProcess& stage = state.stages[static_cast<std::size_t>(index)];
    if (is_alive(stage)) continue;
    stage = TRY(start_stage(options, index));
    TRY(write_local_state(state));
  }
  return {};
}

void stop_local_chain(const LocalState& state) {
  for (const StageProcess& stage : state.stages) end_process(stage.pid, stage.start_time, std::chrono::seconds(12));
  std::error_code ignored;
  fs::remove_all(local_dir(), ignored);
  fs::remove(run_dir(), ignored);  // only when empty
}

}  // namespace commissure
