#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/server_builder.h>

#include <memory>

#include "wire/endpoint.h"
#include "wire/security.h"

namespace commissure {

/// A channel to the next stage. The only place that chooses client credentials: TLS, and a token with every call, for
/// https; plaintext otherwise (parse_endpoint has refused plaintext to other machines), which never carries a token.
std::shared_ptr<grpc::Channel> open_channel(const Endpoint& endpoint, const ClientSecurity& security);

/// Message bounds, keep-alive and buffer sizes of a stage's server.
void tune_server(grpc::ServerBuilder& builder);

}  // namespace commissure
