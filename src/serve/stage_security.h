#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/environment.h"
#include "core/result.h"
#include "net/metadata_server.h"
#include "wire/endpoint.h"
#include "wire/security.h"

namespace commissure {

/// How a stage proves who it is to the next one, and whom it lets in.
///
/// Environment: COMMISSURE_IDENTITY, COMMISSURE_TLS_CERT, COMMISSURE_TLS_KEY, COMMISSURE_REQUIRE_IDENTITY,
/// COMMISSURE_ALLOWED_CALLERS, COMMISSURE_IDENTITY_KEYS; K_SERVICE says that this is Cloud Run.
struct SecuritySettings {
  std::string identity = "auto";  ///< source of its tokens; auto: the metadata server on Cloud Run, else none
  std::string tls_certificate, tls_key;
  std::vector<std::string> audiences;  ///< own base URLs, one of which a token must name; empty: anybody may call
  std::vector<std::string> callers;    ///< e-mail addresses of service accounts that may call; empty with `audiences`
  std::string identity_keys;           ///< key set, file or URL; empty: the platform checks signatures
  bool on_platform = false;

  bool operator==(const SecuritySettings&) const = default;
};

void apply_environment(const Environment& environment, SecuritySettings& settings);

/// Errors: kInvalidArgument naming flag and variable.
Status validate(const SecuritySettings& settings);

/// One line per value for the log at start.
std::vector<std::pair<std::string, std::string>> describe(const SecuritySettings& settings);

/// What protects the calls to `next`. Errors: kInvalidArgument, SSL_CERT_FILE is wrong, or an identity without TLS.
Result<ClientSecurity> client_security(const SecuritySettings& settings, const Endpoint& next, MetadataServer& tokens);

/// What protects this stage. Errors: as read_tls_pair.
Result<ServerSecurity> server_security(const SecuritySettings& settings);

}  // namespace commissure
