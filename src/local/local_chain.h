#pragma once

#include "core/result.h"
#include "local/local_state.h"
#include "local/run_lock.h"
#include "local/stage_process.h"

namespace commissure {

/// Starts the chain's supervisor, which starts the stages, each cold; returns once all processes are there. Sockets,
/// logs and the core lease lie in local_dir(). On an error everything it started is ended again. Errors:
/// kAlreadyExists, the port is in use; kResourceExhausted; kInternal, the supervisor ended (with its last log line).
Result<LocalState> start_local_chain(const RunLock& lock, const LocalChainOptions& options);

/// Gives a running chain a supervisor that starts again what is dead, also what the one before gave up. Errors: as
/// above; what runs goes on running.
Result<LocalState> revive_local_chain(const RunLock& lock, LocalState state);

/// Whether only a new supervisor would start what is dead.
bool needs_revival(const LocalState& state);

/// Ends the supervisor alone.
void end_supervisor(const LocalState& state);

/// Ends the supervisor, so that nothing is started again, and then all stages, first stage first so that streams
/// finish; removes local_dir().
void stop_local_chain(RunLock& lock, const LocalState& state);

/// Whether host:port can be bound. Errors: kAlreadyExists naming the port.
Status check_port_free(const std::string& host, int port);

}  // namespace commissure
