#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <memory>

#include "wire/endpoint.h"
#include "wire/security.h"

namespace commissure {

/// A channel to the next stage. The only place that chooses client credentials: TLS, and a token with every call, for
/// https; plaintext otherwise (parse_endpoint has refused plaintext to other machines), which never carries a token.
std::shared_ptr<grpc::Channel> open_channel(const Endpoint& endpoint, const ClientSecurity& security);

/// The only place that chooses server credentials: TLS when there is a certificate, except on a unix socket. On Cloud
/// Run the platform ends TLS before it reaches the process.
std::shared_ptr<grpc::ServerCredentials> server_credentials(const Endpoint& endpoint, const ServerSecurity& security);

/// Message bounds, keep-alive and buffer sizes of a stage's server.
void tune_server(grpc::ServerBuilder& builder);

}  // namespace commissure
