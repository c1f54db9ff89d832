#pragma once

namespace commissure {

/// Raises this process's limit of open files to what the system lets it have, since shells and containers often start
/// programs with 1,024 and every client is one. Returns the limit that holds now.
int raise_open_file_limit();

/// HTTP connections to admit under a limit of open files: the rest is for weights, logs and links between stages.
int connections_within(int open_file_limit);

}  // namespace commissure
