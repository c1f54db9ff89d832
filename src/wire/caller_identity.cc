#include "wire/caller_identity.h"

namespace commissure {

Result<std::string> CallerIdentity::token() {
  std::string token = TRY(tokens_.identity_token(audience_));
  latest_.with([&](std::string& latest) { latest = token; });
  return token;
}

void CallerIdentity::refused() { tokens_.forget(latest_.copy()); }

bool is_refusal(const Error& error) {
  return error.code() == Code::kUnauthenticated || error.code() == Code::kPermissionDenied;
}

Error explain_refusal(const Error& refusal, const CallerIdentity* identity) {
  if (identity == nullptr) {
    return Error(Code::kFailedPrecondition, "it asks who calls (", refusal.message(),
                 "): run this stage with --identity metadata");
  }
  return Error(Code::kFailedPrecondition, "it refuses this stage's service account (", refusal.message(),
               "): grant it roles/run.invoker there; the token's audience is ", identity->audience());
}

}  // namespace commissure
