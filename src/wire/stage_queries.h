#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <chrono>

#include "wire/stage.pb.h"
#include "wire/stage_client.h"

namespace commissure {

/// A chain is given up that takes longer to load its weights.
inline constexpr std::chrono::minutes kWakeTimeout(30);

/// Answers Describe: this stage and, asked in the same moment, all behind it, within the caller's deadline.
grpc::ServerUnaryReactor* answer_describe(grpc::CallbackServerContext& context, const LocalStage& self,
                                          StageClient* next, v1::ChainDescription& answer);

/// Answers Wake with an error, at once.
grpc::ServerWriteReactor<v1::ChainDescription>* refuse_wake(const Error& why);

/// Answers Wake. The reactor owns a thread that ends with the call, and itself.
grpc::ServerWriteReactor<v1::ChainDescription>* answer_wake(grpc::CallbackServerContext& context,
                                                            const LocalStage& self, StageClient* next);

}  // namespace commissure
