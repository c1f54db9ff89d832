#pragma once

#include "core/result.h"
#include "local/local_state.h"
#include "local/run_lock.h"
#include "local/stage_process.h"

namespace commissure {

/// Starts the supervisor of a new chain, which starts the stages without loading their weights; returns once all
/// processes run. Sockets, logs and the core lease lie in local_dir(options.name). On an error every process that was
/// started is ended again.
///   lock  the chain's, held by the caller
/// Errors: kAlreadyExists, the port is in use; kResourceExhausted, no process or file could be made; kInternal, the
/// supervisor ended (the message has its last log line).
Result<LocalState> start_local_chain(const RunLock& lock, const LocalChainOptions& options);

/// Gives a chain a new supervisor, which starts all dead stages again, also the stages that the supervisor before it
/// had given up. Errors: as start_local_chain, but stages that run go on running.
Result<LocalState> revive_local_chain(const RunLock& lock, LocalState state);

/// Whether a stage is dead that only a new supervisor would start again.
bool needs_revival(const LocalState& state);

/// Ends the supervisor and leaves the stages running.
void end_supervisor(const LocalState& state);

/// Ends the supervisor, so that nothing is started again, and then all stages, first stage first so that streams
/// finish; removes local_dir().
void stop_local_chain(RunLock& lock, const LocalState& state);

/// Tries to listen on host:port. Errors: kAlreadyExists, another program listens there; the message names the port.
Status check_port_free(const std::string& host, int port);

}  // namespace commissure
