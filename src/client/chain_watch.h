#pragma once

#include <chrono>
#include <cstddef>
#include <functional>

#include "client/client.h"

namespace commissure {

/// The stage processes of a chain on this machine, for a wait that should end when one of them dies.
struct WatchedProcesses {
  std::size_t n_stages = 0;  ///< 0: the chain runs elsewhere, and no process is watched
  /// Asked again and again while the wait lasts. Errors: kUnavailable, a stage has ended; the message says which and
  /// why.
  std::function<Status()> check_alive;
};

/// Asks stage A to wake the whole chain and waits until every stage is ready; prints a line on standard error for each
/// stage that has become ready.
///   processes  a stage process that dies ends the wait
///   limit      the longest wait
/// Errors: kUnavailable, a stage died or cannot be reached; kDeadlineExceeded, `limit` is over. The message names the
/// stage and its problem.
Status warm_chain(const ApiAddress& endpoint, const WatchedProcesses& processes, std::chrono::seconds limit);

/// The array "stages" of stage A's /health: one object per stage, in the chain's order. It is there while the chain is
/// not healthy too. Errors: as exchange_json.
Result<Json> fetch_stages(const ApiAddress& endpoint);

}  // namespace commissure
