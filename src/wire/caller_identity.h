#pragma once

#include <string>

#include "core/guarded.h"
#include "core/result.h"
#include "net/metadata_server.h"

namespace commissure {

/// Proves to one service who this process is, by tokens of the metadata server.
/// Threading: any thread.
class CallerIdentity {
 public:
  /// `audience` is the service's base URL; `tokens` outlives this.
  CallerIdentity(MetadataServer& tokens, std::string audience) : tokens_(tokens), audience_(std::move(audience)) {}

  /// Errors: as MetadataServer::identity_token.
  Result<std::string> token();

  /// To be called when the service refused the latest token: the next token() is a fresh one.
  void refused();

  const std::string& audience() const { return audience_; }

 private:
  MetadataServer& tokens_;
  const std::string audience_;
  Guarded<std::string> latest_;
};

/// Whether the error says that the service refused the caller's identity.
bool is_refusal(const Error& error);

/// The error for people: what the refusal means and how to mend it. kFailedPrecondition, since trying again does not
/// help. `identity` is null when the call carried no token.
Error explain_refusal(const Error& refusal, const CallerIdentity* identity);

}  // namespace commissure
