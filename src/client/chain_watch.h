#pragma once

#include <chrono>
#include <cstddef>
#include <functional>

#include "client/client.h"

namespace commissure {

/// The processes of a chain on this machine, as far as somebody who waits for the chain cares.
struct WatchedProcesses {
  std::size_t n_stages = 0;             ///< 0: the chain is not of this machine
  std::function<Status()> check_alive;  ///< Errors: kUnavailable, one has ended, with its last log line
};

/// Asks stage A to wake the whole chain and follows all stages until each is ready; prints a line for each as it gets
/// there. With `processes`, one that dies meanwhile ends the wait. Errors: kUnavailable or kDeadlineExceeded, naming
/// the stage and its problem.
Status warm_chain(const ApiAddress& endpoint, const WatchedProcesses& processes, std::chrono::seconds limit);

/// The stages as stage A knows them, from /health; works while the chain is not well. Errors: as exchange_json.
Result<Json> fetch_stages(const ApiAddress& endpoint);

}  // namespace commissure
