#pragma once

#include <chrono>
#include <memory>
#include <vector>

#include "core/result.h"
#include "wire/door.h"
#include "wire/endpoint.h"
#include "wire/listener.h"
#include "wire/security.h"
#include "wire/stage_service.h"

namespace commissure {

class CallQueue;

/// What a stage's server lets its peers take, before anybody has said who he is.
struct ServerLimits {
  Listener::Limits connections = {};
  CallRate calls = {};
  std::chrono::milliseconds request_wait{10'000};  ///< for the request of a call; streams have their own limit
};

/// A gRPC server that hands every call to one stage's service.
///
/// Calls are counted by what they ask, so that none keeps another from its place: 64 streams, 64 questions (Describe,
/// Wake, LoadAdapter, DropAdapter), 16 health checks, 16 health watches, 16 calls of anything else. Where there is no
/// place, the call that has waited longest for its peer's first word makes room; where all have spoken, a new one gets
/// RESOURCE_EXHAUSTED.
class StageServer {
 public:
  /// Listens on all of `endpoints` ("0.0.0.0:8080" is fine here; port 0 takes a free one).
  /// `queue` is the queue of this process's links, none of which has started yet; null: the server has its own.
  /// Errors: kUnavailable, naming the endpoint that is taken or cannot be listened on.
  static Result<std::unique_ptr<StageServer>> start(StageService& service, const std::vector<Endpoint>& endpoints,
                                                    const ServerSecurity& security = {},
                                                    std::shared_ptr<CallQueue> queue = nullptr,
                                                    const ServerLimits& limits = {});

  ~StageServer();

  /// The port of the first TCP endpoint, 0 without one.
  int port() const;

  /// Takes no new calls, drains the service for at most `grace`, then closes. Called once at most; the destructor
  /// does it with no grace.
  void stop(std::chrono::milliseconds grace);

 private:
  class Impl;
  explicit StageServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace commissure
