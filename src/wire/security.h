#pragma once

#include <memory>
#include <optional>
#include <string>

#include "net/tls_files.h"
#include "wire/caller_identity.h"
#include "wire/identity_check.h"

namespace commissure {

/// What protects this stage's calls to the next one.
struct ClientSecurity {
  std::string roots = {};  ///< certificates to trust, PEM; empty: the system's
  /// Null: calls carry no token. Shared: gRPC may hold it a little longer than the link does.
  std::shared_ptr<CallerIdentity> identity = nullptr;
};

/// How a stage checks its callers and protects their connections.
struct ServerSecurity {
  std::optional<TlsPair> tls = {};                   ///< none: plaintext, or TLS ends before this process
  std::shared_ptr<IdentityCheck> callers = nullptr;  ///< null: anybody may call. Shared by service and server's owner
};

}  // namespace commissure
