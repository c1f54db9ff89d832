#pragma once

#include <chrono>
#include <optional>

#include "apps/client.h"
#include "apps/local_state.h"

namespace commissure {

/// Asks stage A to wake the whole chain and follows all stages until each is ready; prints a line for each as it gets
/// there. With `local`, a stage process that dies meanwhile ends the wait with its last log line. Errors: kUnavailable
/// or kDeadlineExceeded, naming the stage and its problem.
Status warm_chain(const ApiAddress& endpoint, const std::optional<LocalState>& local, std::chrono::seconds limit);

/// The stages as stage A knows them, from /health; works while the chain is not well. Errors: as exchange_json.
Result<Json> fetch_stages(const ApiAddress& endpoint);

}  // namespace commissure
