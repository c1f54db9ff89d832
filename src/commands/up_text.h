#pragma once

#include <string>

#include "client/client.h"
#include "local/local_state.h"
#include "plan/split_plan.h"

namespace commissure {

/// Errors: kAlreadyExists, another chain of this name runs; the message names each setting that differs.
Status check_same(const LocalChainOptions& running, const LocalChainOptions& wanted);

/// What `up` says at the end: where the chain serves, how much fits into it, a call to try, how to stop it.
std::string endpoint_text(const ApiAddress& endpoint, const LocalState& state, const ContextPlan& context,
                          std::uint64_t kv_bytes);

}  // namespace commissure
