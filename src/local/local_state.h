#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/json.h"
#include "core/result.h"

namespace commissure {

/// What `up --local` was asked for.
struct LocalChainOptions {
  std::string name = "local";  ///< several chains run side by side under names of their own
  std::string model;           ///< resolved: file, folder or URL
  std::string model_name;
  std::vector<int> cuts;
  int n_layers = 0;
  std::string host = "127.0.0.1";  ///< address that stage A listens on
  int port = 8080;
  std::vector<std::string> stage_flags;  ///< handed on to every `commissure stage`
  bool restarts = true;                  ///< a stage that died is started again

  /// Layers of the stage with this index (0 is A): the first, and one past the last.
  std::pair<int, int> layers(std::size_t index) const;
  /// The URL at which programs on this machine reach stage A.
  std::string url() const;
};

/// Names one process for ever, where a pid alone is used again for another one.
struct ProcessId {
  int pid = 0;
  unsigned long long start_time = 0;  ///< clock ticks since the machine started

  bool operator==(const ProcessId&) const = default;
};

/// Whether this very process still runs; a zombie does not.
bool is_alive(const ProcessId& process);

/// One stage process of a chain on this machine.
struct StageProcess {
  std::string name;  ///< "a", "b", ...
  ProcessId process = {};
  std::string log = {};         ///< path of its log file
  int deaths = 0;               ///< how often this stage has died since `up`
  std::string last_death = {};  ///< how the stage's last process ended, in words; "" when none has ended yet
  bool given_up = false;        ///< the stage kept dying, and is not started again before the next `up`
};

/// The chain that `up --local` started, as its state file tells. Once the supervisor runs, it alone writes that file.
struct LocalState {
  LocalChainOptions chain;
  ProcessId supervisor;
  bool started = false;  ///< every stage has been started once
  std::vector<StageProcess> stages;

  std::string url() const { return chain.url(); }
};

/// The folder of a chain on this machine, with its state file, sockets, logs and core lease.
std::filesystem::path local_dir(const std::string& name);

/// Checks that a chain's name can be the name of its folder. Errors: kInvalidArgument, it cannot.
Status check_chain_name(const std::string& name);

/// The state of the chain with this name; empty when no such chain was started. Errors: kDataLoss, the state file is
/// broken (the message names it); kPermissionDenied, other users own the run folder or may write there.
Result<std::optional<LocalState>> read_local_state(const std::string& name);
/// Replaces the state file of the chain in one step. Errors: as the system says; the old file is then still whole.
Status write_local_state(const LocalState& state);

/// All chains of the run folder, by name. Errors: as read_local_state.
Result<std::vector<LocalState>> read_local_states();

/// The chain with this name, or for "" the only chain of this machine; empty when there is none. Errors: as
/// read_local_state; kFailedPrecondition, `name` is "" and several chains run.
Result<std::optional<LocalState>> find_local_chain(const std::string& name);

/// The chain of this machine that serves at this URL; empty when none does.
std::optional<LocalState> find_local_chain_at(const std::string& url);

/// The text of a state file, as JSON.
Json local_state_json(const LocalState& state);
/// Reads the text of a state file. Errors: kDataLoss, naming the value that is missing or out of range.
Result<LocalState> parse_local_state(const std::string& text);

/// The last non-empty line of a log file, at most 300 bytes; "" when there is none.
std::string last_log_line(const std::string& path);

}  // namespace commissure
