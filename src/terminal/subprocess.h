#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/result.h"

namespace commissure {

/// How to start a program. No shell is involved; secrets belong into `environment`, never into `arguments`.
struct SubprocessOptions {
  std::vector<std::string> arguments;                            ///< argv, [0] is the program (searched in PATH)
  std::vector<std::pair<std::string, std::string>> environment;  ///< added to or replacing ours
  std::filesystem::path output;  ///< standard output and error are appended here; empty: /dev/null
  bool new_session = false;      ///< survives the end of our terminal
};

/// Errors: kNotFound, no such program; kResourceExhausted, the system refused a process.
Result<pid_t> start_process(const SubprocessOptions& options);

/// The exit status once the child is gone, nothing while it runs. 128 + n for death by signal n.
std::optional<int> poll_exit(pid_t child);

/// When a process started, in clock ticks since boot: with the pid this names a process for ever.
/// Empty when there is no such process, or only its zombie.
std::optional<unsigned long long> process_start_time(pid_t pid);

/// SIGTERM, then SIGKILL after `grace`; returns when the process is gone.
void end_process(pid_t pid, unsigned long long start_time, std::chrono::milliseconds grace);

}  // namespace commissure
