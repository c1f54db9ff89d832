#pragma once

#include <string>

#include "client/client.h"
#include "local/local_state.h"
#include "plan/split_plan.h"

namespace commissure {

/// Checks that the chain that runs under this name has the settings that are wanted now. Errors: kAlreadyExists, it has
/// not; the message names each setting that differs, with both values.
Status check_same(const LocalChainOptions& running, const LocalChainOptions& wanted);

/// What `up` says at the end: where the chain serves, how much fits into it, a call to try, how to stop it.
///   has_page  whether it serves the web page
std::string endpoint_text(const ApiAddress& endpoint, const LocalState& state, const ContextPlan& context,
                          std::uint64_t kv_bytes, bool has_page);

}  // namespace commissure
