#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace commissure {

/// One run of a program. Secrets travel in `input` alone.
struct ProgramCall {
  std::vector<std::string> arguments;  ///< argv, [0] is the program
  std::string input = {};              ///< given on standard input
  bool secret_input = false;           ///< `input` is never shown
  /// Instead of `input`: argv of a program whose output is the input, and secret.
  std::vector<std::string> input_of = {};
  bool logs_out = false;            ///< ends a login: run after a failure too, and its own failure is ignored
  std::chrono::seconds limit{900};  ///< a program that runs longer is ended
  std::uint64_t n_bytes = 0;        ///< bytes that it moves, for progress; 0: few or unknown

  bool operator==(const ProgramCall&) const = default;
};

/// What a program left when it ended.
struct ProgramAnswer {
  int status = 0;           ///< exit status; 128 + n for death by signal n
  std::string output = {};  ///< its standard output
  std::string errors = {};  ///< its standard error

  bool good() const { return status == 0; }
};

/// Told while a program runs: a new line of its standard error, or an empty one about five times a second.
using CallTick = std::function<void(std::string_view line)>;

/// Makes one call. Errors: kNotFound, no such program; kDeadlineExceeded; kCancelled, the person stopped it. A program
/// that fails is an answer, not an error. Threading: any thread, several at once.
using ProgramRunner = std::function<Result<ProgramAnswer>(const ProgramCall&)>;

/// A line that a shell would run, for people and `--dry-run`. Input that is no secret is shown as a here-string.
std::string command_line(const ProgramCall& call);

}  // namespace commissure
