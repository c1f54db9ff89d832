#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/result.h"
#include "local/local_state.h"

namespace commissure {

/// What `up --local` was asked for.
struct LocalChainOptions {
  std::string model;  ///< resolved: file, folder or URL
  std::string model_name;
  std::vector<int> cuts;
  int port = 8080;
  std::vector<std::string> stage_flags;  ///< handed on to every `commissure stage`
};

/// Starts the chain's processes, last stage first, each cold; writes the state file. Sockets, logs and the core lease
/// lie in local_dir(). On an error everything it started is ended again. Errors: kAlreadyExists, the port is in use;
/// kResourceExhausted; kInternal, a stage died at once (with its last log line).
Result<LocalState> start_local_chain(const LocalChainOptions& options);

/// Starts again those stages of a running chain that died. Errors: as above.
Status revive_local_chain(LocalState& state, const LocalChainOptions& options);

/// Ends all stages, first stage first so that streams finish, and removes local_dir().
void stop_local_chain(const LocalState& state);

/// The path of the socket that stage `index` (1 and up) of the local chain listens on.
std::string stage_socket(int index);

/// Whether 127.0.0.1:port can be bound. Errors: kAlreadyExists naming the port.
Status check_port_free(int port);

}  // namespace commissure
