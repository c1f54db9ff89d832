#pragma once

#include <chrono>
#include <functional>

#include "wire/server_call.h"
#include "wire/stage_client.h"

namespace commissure {

/// A chain that takes longer than this to load its weights is given up.
inline constexpr std::chrono::minutes kWakeTimeout(30);
/// A stage that takes longer than this to read its part of an adapter is given up.
inline constexpr std::chrono::minutes kAdapterTimeout(10);

// Each takes a call that nothing was read of yet, and answers it from a thread that ends with the call. What they are
// given outlives the call.

/// Answers Describe with this stage and all stages behind it, which it asks now, within the caller's deadline.
void answer_describe(ServerCall& call, const LocalStage& self, StageClient* next);

/// Answers Wake with the state of all stages, until each is ready or has failed.
void answer_wake(ServerCall& call, const LocalStage& self, StageClient* next);

/// Answers LoadAdapter when this stage and all behind it have it, within the caller's deadline.
void answer_load_adapter(ServerCall& call, const LocalStage& self, StageClient* next);

/// Answers DropAdapter.
void answer_drop_adapter(ServerCall& call, const LocalStage& self, StageClient* next);

/// Answers Check and, with `watch`, Watch of grpc.health.v1.Health: "live" is SERVING always, "" as `is_serving` says.
void answer_health(ServerCall& call, std::function<bool()> is_serving, bool watch);

}  // namespace commissure
