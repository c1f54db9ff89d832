#include "local/local_chain.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <thread>

#include "terminal/own_folder.h"
#include "terminal/paths.h"
#include "terminal/subprocess.h"

namespace commissure {

namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds kStartLimit{30};
constexpr std::chrono::seconds kStopLimit{12};

std::string supervisor_log(const std::string& name) { return (local_dir(name) / "supervisor.log").string(); }

/// Starts the supervisor and waits until it has started what is not there.
Result<LocalState> supervise(LocalState state) {
  const std::string& name = state.chain.name;
  state.started = false;
  TRY(write_local_state(state));  // before any process: a full disk shows here
  SubprocessOptions command;
  command.arguments = {own_executable().string(), "supervise", "--name", name};
  command.output = supervisor_log(name);
  command.new_session = true;
  const pid_t pid = TRY(start_process(command));
  const ProcessId supervisor{pid, process_start_time(pid).value_or(0)};
  const auto deadline = std::chrono::steady_clock::now() + kStartLimit;
  while (std::chrono::steady_clock::now() < deadline) {
    const auto written = read_local_state(name);
    if (written && *written && (*written)->started) return **written;
    if (poll_exit(pid) || !is_alive(supervisor)) {
      const std::string line = last_log_line(command.output);
      return Error(Code::kInternal,
                   "the stages could not be started: ", line.empty() ? "their supervisor ended without a word" : line);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  end_process(pid, supervisor.start_time, kStopLimit);
  return Error(Code::kDeadlineExceeded, "the stages were not started within ", kStartLimit.count(), " s");
}

/// Starts with an empty folder. Errors: kPermissionDenied; kInvalidArgument, too long a path for sockets.
Status make_chain_folder(const std::string& name) {
  const fs::path folder = local_dir(name);
  if (stage_socket(name, 25).size() > 100) {  // sun_path holds 107 bytes
    return Error(Code::kInvalidArgument, folder.string(),
                 " is too long for a socket's path; set COMMISSURE_RUN_DIR to a shorter one");
  }
  std::error_code problem;
  fs::remove_all(folder, problem);
  return make_own_folder(folder);
}

}  // namespace

Status check_port_free(const std::string& host, int port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const std::string bare = host.starts_with('[') ? host.substr(1, host.size() - 2) : host;
  if (getaddrinfo(bare.c_str(), std::to_string(port).c_str(), &hints, &found) != 0)
    return Error(Code::kInvalidArgument, "--host: no address \"", host, "\" here");
  const int probe = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int yes = 1;
  if (probe >= 0) setsockopt(probe, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  const bool free =
      probe < 0 || bind(probe, found->ai_addr, found->ai_addrlen) == 0;  // else the server itself will say
  const int why = errno;
  if (probe >= 0) close(probe);
  freeaddrinfo(found);
  if (free) return {};
  if (why != EADDRINUSE)
    return Error(Code::kInvalidArgument, "cannot listen on ", host, ":", port, ": ", std::strerror(why));
  return Error(Code::kAlreadyExists, "port ", port, " is in use by another program; choose another one with --port");
}

Result<LocalState> start_local_chain(const RunLock&, const LocalChainOptions& options) {
  TRY(check_port_free(options.host, options.port));
  TRY(make_chain_folder(options.name));
  LocalState state{options, {}, false, {}};
  for (int index = 0; index <= static_cast<int>(options.cuts.size()); ++index) {
    state.stages.push_back({.name = stage_letter(index), .log = stage_log(options, index)});
  }
  auto started = supervise(state);
  if (started) return started;
  if (const auto written = read_local_state(options.name); written && *written) state = **written;
  for (const StageProcess& stage : state.stages) end_process(stage.process.pid, stage.process.start_time, kStopLimit);
  std::error_code ignored;
  fs::remove_all(local_dir(options.name), ignored);
  return started;
}

bool needs_revival(const LocalState& state) {
  if (!is_alive(state.supervisor)) return true;
  for (const StageProcess& stage : state.stages) {
    if (stage.given_up || (!state.chain.restarts && !is_alive(stage.process))) return true;
  }
  return false;
}

void end_supervisor(const LocalState& state) {
  end_process(state.supervisor.pid, state.supervisor.start_time, kStopLimit);
}

Result<LocalState> revive_local_chain(const RunLock&, LocalState state) {
  end_supervisor(state);
  if (const auto written = TRY(read_local_state(state.chain.name))) state = *written;
  for (StageProcess& stage : state.stages) {
    stage.deaths = 0;
    stage.given_up = false;
  }
  return supervise(std::move(state));
}

void stop_local_chain(RunLock& lock, const LocalState& state) {
  end_supervisor(state);
  // What it started last is in its last state.
  const auto written = read_local_state(state.chain.name);
  const LocalState& last = written && *written ? **written : state;
  for (const StageProcess& stage : last.stages) end_process(stage.process.pid, stage.process.start_time, kStopLimit);
  std::error_code ignored;
  fs::remove_all(local_dir(state.chain.name), ignored);
  lock.remove_file();
}

}  // namespace commissure
