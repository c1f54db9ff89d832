#pragma once

#include <grpcpp/server_builder.h>

#include <chrono>
#include <functional>
#include <memory>

#include "wire/endpoint.h"
#include "wire/security.h"

namespace commissure {

/// Calls that all connections of a door may open together in `window`; stage A opens some ten a second.
struct CallRate {
  int most = 1000;
  std::chrono::milliseconds window{1'000};
};

/// A way into a gRPC server for connections that were accepted elsewhere. The only place that chooses server
/// credentials: TLS when there is a certificate, except on a unix socket. On Cloud Run the platform ends TLS before the
/// process.
///
/// It counts their calls as gRPC reads them and refuses those above a rate, before anything of them is kept. That is
/// the only place in time: the thread that reads a connection does so as long as bytes come, so the calls of a peer
/// that opens and drops them without end (40 KB each) would pile up before the first of them is seen by anybody of
/// ours.
class Door {
 public:
  /// Adds itself to the server. `on_flood` is called when a call was above the rate, from within gRPC's reading: it may
  /// take no time and call nothing of gRPC.
  Door(grpc::ServerBuilder& builder, const Endpoint& endpoint, const ServerSecurity& security, const CallRate& rate,
       std::function<void()> on_flood);

  /// When the server is built. Owns `fd` from then on.
  void take(int listener_fd, int fd);

 private:
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor_;
};

}  // namespace commissure
