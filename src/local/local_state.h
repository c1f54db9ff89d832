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

  /// Layers of stage `index`: from the first to one past the last.
  std::pair<int, int> layers(std::size_t index) const;
  /// Where this machine reaches it.
  std::string url() const;
};

/// A process for ever: pids are used again.
struct ProcessId {
  int pid = 0;
  unsigned long long start_time = 0;

  bool operator==(const ProcessId&) const = default;
};

bool is_alive(const ProcessId& process);

/// One stage process of a chain on this machine.
struct StageProcess {
  std::string name;  ///< "a", "b", ...
  ProcessId process = {};
  std::string log = {};         ///< path
  int deaths = 0;               ///< since `up`
  std::string last_death = {};  ///< how the one before this process ended; "" when none did
  bool given_up = false;        ///< it kept dying: nobody starts it again before the next `up`
};

/// The chain that `up --local` started, as its state file tells. The supervisor alone writes it once it has started.
struct LocalState {
  LocalChainOptions chain;
  ProcessId supervisor;
  bool started = false;  ///< all stages have been
  std::vector<StageProcess> stages;

  std::string url() const { return chain.url(); }
};

/// The folder of a local chain: state, sockets, logs, lease.
std::filesystem::path local_dir(const std::string& name);

/// Errors: kInvalidArgument, `name` cannot be a folder's.
Status check_chain_name(const std::string& name);

/// Empty when nothing was started. Errors: kDataLoss, the state file is broken (names it); kPermissionDenied, the run
/// folder is not ours.
Result<std::optional<LocalState>> read_local_state(const std::string& name);
Status write_local_state(const LocalState& state);

/// All chains of the run folder, by name. Errors: as read_local_state.
Result<std::vector<LocalState>> read_local_states();

/// The chain of that name, or for "" the only one there is. Errors: as read_local_state; kFailedPrecondition, there are
/// several and none was named.
Result<std::optional<LocalState>> find_local_chain(const std::string& name);

/// The chain that serves at this address; empty when none does.
std::optional<LocalState> find_local_chain_at(const std::string& url);

Json local_state_json(const LocalState& state);
/// Errors: kDataLoss, what is missing or out of range.
Result<LocalState> parse_local_state(const std::string& text);

/// The last non-empty line of a log file, at most 300 bytes; "" when there is none.
std::string last_log_line(const std::string& path);

}  // namespace commissure
