#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/result.h"

namespace commissure {

/// One stage process of a chain on this machine.
struct StageProcess {
  std::string name;  ///< "a", "b", ...
  int pid = 0;
  unsigned long long start_time = 0;  ///< tells a reused pid apart
  std::string log;                    ///< path

  bool operator==(const StageProcess&) const = default;
};

/// The chain that `up --local` started, as its state file tells.
struct LocalState {
  std::string model;  ///< as resolved: a file, a folder or a URL
  std::string model_name;
  std::vector<int> cuts;
  int port = 0;
  std::vector<StageProcess> stages;

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port); }
};

/// The folder of the local chain: state, sockets, logs, lease.
std::filesystem::path local_dir();

/// Empty when nothing was started. Errors: kDataLoss, the state file is broken (names it).
Result<std::optional<LocalState>> read_local_state();
Status write_local_state(const LocalState& state);

bool is_alive(const StageProcess& stage);

/// Errors: kUnavailable, a stage has ended; with its last log line.
Status check_alive(const LocalState& state);

/// The last non-empty line of a log file, at most 300 bytes; "" when there is none.
std::string last_log_line(const std::string& path);

}  // namespace commissure
