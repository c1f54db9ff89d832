#include "local/supervisor.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <optional>
#include <vector>

#include "local/local_state.h"
#include "local/restart_policy.h"
#include "local/run_lock.h"
#include "local/stage_process.h"
#include "terminal/stop_signal.h"
#include "terminal/subprocess.h"

namespace commissure {

namespace {

using Clock = RestartPolicy::Clock;

constexpr std::chrono::milliseconds kLongestWait{1000};  ///< a signal may come just before the wait
constexpr std::chrono::seconds kGrace{12};               ///< before SIGKILL
constexpr std::chrono::milliseconds kBusyWait{20};       ///< while somebody else has the lock

/// What the supervisor knows of a stage beside the state file.
struct Watched {
  RestartPolicy policy;
  bool is_dead = false;
  std::optional<Clock::time_point> restart_at;
  int pidfd = -1;  ///< readable once the process is gone; -1: looked at now and then
};

std::string how_it_ended(const std::optional<int>& status) {
  if (!status) return "ended";
  if (*status < 128) return fmt::format("ended with status {}", *status);
  return fmt::format("killed by signal {} ({})", *status - 128, strsignal(*status - 128));
}

class Supervisor {
 public:
  explicit Supervisor(LocalState state) : state_(std::move(state)), watched_(state_.stages.size()) {}
  ~Supervisor() {
    for (Watched& one : watched_) forget(one);
  }
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  /// On behalf of an `up` that holds the lock.
  Status start() {
    state_.supervisor = {getpid(), process_start_time(getpid()).value_or(0)};
    for (std::size_t i = state_.stages.size(); i-- > 0;) {
      if (is_alive(state_.stages[i].process)) {
        watch(i);
        continue;
      }
      const Status started = start_one(i);
      if (started) continue;
      end_children();
      return started;
    }
    state_.started = true;
    const Status written = write_local_state(state_);
    if (!written) end_children();
    return written;
  }

  void run() {
    while (stop_signal() == 0) {
      wait();
      if (stop_signal() != 0 || !look()) return;
    }
  }

 private:
  static void forget(Watched& one) {
    if (one.pidfd >= 0) close(one.pidfd);
    one.pidfd = -1;
  }

  void watch(std::size_t i) {
    Watched& one = watched_[i];
    forget(one);
    one.is_dead = false;
    one.restart_at.reset();
    one.policy.on_start(Clock::now());
    one.pidfd = static_cast<int>(syscall(SYS_pidfd_open, state_.stages[i].process.pid, 0));
  }

  Status start_one(std::size_t i) {
    ProcessId& process = state_.stages[i].process;
    process = TRY(start_stage(state_.chain, static_cast<int>(i)));
    const Status written = write_local_state(state_);
    if (!written) {  // one that no `down` would find
      end_process(process.pid, process.start_time, kGrace);
      return written;
    }
    children_.push_back(process);
    watch(i);
    return {};
  }

  void end_children() {
    for (const ProcessId& child : children_) end_process(child.pid, child.start_time, kGrace);
  }

  /// Until a stage may have died or is due.
  void wait() {
    if (lock_was_taken_) {  // the dead ones would end every wait at once
      poll(nullptr, 0, static_cast<int>(kBusyWait.count()));
      return;
    }
    std::vector<pollfd> ends;
    auto limit = kLongestWait;
    const auto now = Clock::now();
    for (const Watched& one : watched_) {
      if (!one.is_dead && one.pidfd >= 0) ends.push_back({one.pidfd, POLLIN, 0});
      if (one.restart_at)
        limit = std::clamp(std::chrono::ceil<std::chrono::milliseconds>(*one.restart_at - now),
                           std::chrono::milliseconds(0), limit);
    }
    poll(ends.data(), ends.size(), static_cast<int>(limit.count()));
  }

  /// Notes the dead and starts those that are due. False when this supervisor is no longer wanted.
  bool look() {
    std::vector<std::size_t> dead, due;
    const auto now = Clock::now();
    for (std::size_t i = 0; i < watched_.size(); ++i) {
      const Watched& one = watched_[i];
      if (!one.is_dead && has_ended(i)) dead.push_back(i);
      if (one.restart_at && *one.restart_at <= now) due.push_back(i);
    }
    lock_was_taken_ = false;
    if (dead.empty() && due.empty()) return true;
    const auto lock = RunLock::try_take(state_.chain.name);
    if (!lock) return false;  // the run folder is no longer ours
    if (!*lock) {
      lock_was_taken_ = true;
      return true;
    }
    const auto written = read_local_state(state_.chain.name);
    if (!written || !*written || (*written)->supervisor != state_.supervisor) return false;
    for (const std::size_t i : dead) note_death(i);
    for (const std::size_t i : due) restart(i);
    if (const Status kept = write_local_state(state_); !kept) say(kept.error().message());
    return true;
  }

  bool has_ended(std::size_t i) {
    const ProcessId& process = state_.stages[i].process;
    if (const auto status = poll_exit(process.pid)) {
      ends_[process.pid] = *status;
      return true;
    }
    return !is_alive(process);
  }

  void note_death(std::size_t i) {
    StageProcess& stage = state_.stages[i];
    Watched& one = watched_[i];
    forget(one);
    one.is_dead = true;
    const auto known = ends_.find(stage.process.pid);
    stage.last_death = how_it_ended(known == ends_.end() ? std::nullopt : std::optional(known->second));
    ends_.erase(stage.process.pid);
    if (const std::string line = last_log_line(stage.log); !line.empty()) stage.last_death += "; last logged: " + line;
    ++stage.deaths;
    if (!state_.chain.restarts) return say("stage " + stage.name + " " + stage.last_death);
    one.restart_at = one.policy.on_death(Clock::now());
    stage.given_up = !one.restart_at;
    say(fmt::format("stage {} {}; {}", stage.name, stage.last_death,
                    stage.given_up ? "it keeps dying and is not started again" : "it is started again"));
  }

  void restart(std::size_t i) {
    const Status started = start_one(i);
    if (started) return;
    StageProcess& stage = state_.stages[i];
    say("stage " + stage.name + ": " + started.error().message());
    watched_[i].restart_at = Clock::now() + RestartPolicy::kLongestPause;
  }

  static void say(const std::string& line) { std::fprintf(stderr, "%s\n", line.c_str()); }

  LocalState state_;
  std::vector<Watched> watched_;
  std::vector<ProcessId> children_;
  std::map<pid_t, int> ends_;  ///< exit statuses of children whose death is not noted yet
  bool lock_was_taken_ = false;
};

}  // namespace

Status run_supervisor(const std::string& name) {
  catch_stop_signals();
  auto state = TRY(read_local_state(name));
  if (!state) return Error(Code::kNotFound, "no chain ", name, " is here");
  Supervisor supervisor(std::move(*state));
  TRY(supervisor.start());
  supervisor.run();
  return {};
}

}  // namespace commissure
