#pragma once

namespace commissure {

/// Raises this process's limit of open files to the most that the system allows: shells and containers often start
/// programs with a limit of 1,024, and every client takes one open file. Returns the limit that holds now.
int raise_open_file_limit();

/// How many HTTP connections to admit under a limit of open files; the rest of the limit is for weights, logs and links
/// between stages.
int connections_within(int open_file_limit);

}  // namespace commissure
