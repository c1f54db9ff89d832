#pragma once

#include <string>
#include <string_view>

#include "core/result.h"

namespace commissure {

/// Where a stage listens.
struct Endpoint {
  std::string target;  ///< as gRPC takes it: "host:port" or "unix:/path"
  bool tls = false;
  bool stays_local = false;   ///< a unix socket or a loopback address: nobody else can listen in
  std::string base_url = {};  ///< with TLS: the audience of identity tokens, "https://host" or "https://host:port"

  bool operator==(const Endpoint&) const = default;
};

/// Reads "host:port", "unix:/path/sock", "http://host:port" (plaintext) or "https://host[:port]" (TLS, port 443).
/// Plaintext to another machine is refused unless `allow_plaintext`. IPv6 hosts are written in brackets.
/// Errors: kInvalidArgument, naming the endpoint and the cure.
Result<Endpoint> parse_endpoint(std::string_view text, bool allow_plaintext = false);

}  // namespace commissure
