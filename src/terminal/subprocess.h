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

/// Starts a program and returns its pid without waiting for it. Errors: kNotFound, there is no such program;
/// kResourceExhausted, the system refused a process.
Result<pid_t> start_process(const SubprocessOptions& options);

/// The exit status of a child once it has ended (128 + n for death by signal n); empty while it runs.
std::optional<int> poll_exit(pid_t child);

/// When a process started, in clock ticks since the machine did: together with the pid this names one process for ever.
/// Empty when there is no such process, or when it has ended and only waits to be collected.
std::optional<unsigned long long> process_start_time(pid_t pid);

/// Sends SIGTERM, and SIGKILL after `grace`; returns when the process is gone. A process of the same pid that started
/// at another time is left alone.
void end_process(pid_t pid, unsigned long long start_time, std::chrono::milliseconds grace);

}  // namespace commissure
