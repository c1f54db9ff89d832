#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace commissure {

/// Who may call this stage.
struct IdentityRules {
  std::vector<std::string> audiences;  ///< a token must be for one of these: the stage's own base URLs
  std::vector<std::string> callers;    ///< e-mail addresses of the service accounts that may call
  std::vector<std::string> issuers = {"https://accounts.google.com", "accounts.google.com"};
  /// File or URL of the issuer's key set. Empty: the platform has checked the signature before the call came here, and
  /// has taken it off.
  std::string keys;
  /// The platform checks signatures and puts words in their place: a token with those is judged by its claims, any
  /// other by its signature as well. The keys are then fetched when the first such token comes.
  bool may_be_stripped = false;
  std::function<std::chrono::system_clock::time_point()> now = [] { return std::chrono::system_clock::now(); };
};

/// Checks the identity token of each call. Keys are fetched by a thread of its own, at the start, every hour, and when
/// a token names a key that is not known yet; no call waits for it. Threading: any thread.
class IdentityCheck {
 public:
  /// Errors: kInvalidArgument, no audience or no caller; those of reading a key file.
  static Result<std::unique_ptr<IdentityCheck>> create(IdentityRules rules);
  ~IdentityCheck();

  /// `authorization` is the header's value, "Bearer TOKEN".
  /// Errors: kUnauthenticated, no token, or a token that is not valid for this stage now; kPermissionDenied, a valid
  /// token of a caller who is not allowed; kUnavailable, the keys have not been fetched yet. Messages never hold a
  /// token.
  Status check(std::string_view authorization);

 private:
  class Keys;
  IdentityCheck(IdentityRules rules, std::unique_ptr<Keys> keys);

  const IdentityRules rules_;
  const std::unique_ptr<Keys> keys_;  // null when the platform checks signatures
};

}  // namespace commissure
