#pragma once

#include <chrono>
#include <memory>
#include <vector>

#include "core/result.h"
#include "wire/endpoint.h"
#include "wire/security.h"
#include "wire/stage_service.h"

namespace commissure {

class CallQueue;

/// A gRPC server that hands every call to one stage's service.
class StageServer {
 public:
  /// Listens on all of `endpoints` ("0.0.0.0:8080" is fine here; port 0 takes a free one).
  /// `queue` is the queue of this process's links, none of which has started yet; null: the server has its own.
  /// Errors: kUnavailable, naming the endpoint that is taken or cannot be listened on.
  static Result<std::unique_ptr<StageServer>> start(StageService& service, const std::vector<Endpoint>& endpoints,
                                                    const ServerSecurity& security = {},
                                                    std::shared_ptr<CallQueue> queue = nullptr);

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
