#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "core/guarded.h"
#include "core/mutex.h"
#include "core/result.h"
#include "net/http.h"
#include "net/metadata_answers.h"

namespace commissure {

struct MetadataServerOptions {
  std::string host;                          ///< host[:port]; empty: GCE_METADATA_HOST, else metadata.google.internal
  std::chrono::milliseconds timeout{5'000};  ///< for one answer
  int n_attempts = 3;
  std::function<std::chrono::system_clock::time_point()> now = [] { return std::chrono::system_clock::now(); };
};

/// Google's metadata server, which gives a machine on Google Cloud the tokens of its service account.
///
/// Tokens are kept and replaced before they expire; while a replacement cannot be had, the old one serves as long as it
/// is valid. No error or log line holds a token. Threading: any thread; a call waits at most a few timeouts.
class MetadataServer {
 public:
  explicit MetadataServer(MetadataServerOptions options = {});

  /// An access token for Google's own APIs (OAuth 2).
  /// Errors: kUnavailable or kDeadlineExceeded, nothing answers (not on Google Cloud?); kNotFound, the machine has no
  /// service account; kDataLoss, an answer without a usable token.
  Result<std::string> access_token();

  /// A signed statement of who this machine is, for `audience` alone: the base URL of a service. Errors: as
  /// access_token.
  Result<std::string> identity_token(const std::string& audience);

  /// To be called when a peer refused `token`: the next call then asks for a new token.
  void forget(const std::string& token);

 private:
  using Time = std::chrono::system_clock::time_point;
  struct Token {
    std::string text;
    Time expires;
    Time renew;  ///< from then on a new token is asked for
  };
  struct Failure {
    std::string path;
    std::chrono::steady_clock::time_point at;
    Error error;
  };
  using Read = Result<GivenToken> (*)(const std::string& body, Time now);

  Result<std::string> token(const std::string& path, Read read);
  Result<Token> fetch_token(const std::string& path, Read read);
  Result<std::string> fetch(const std::string& path);

  const MetadataServerOptions options_;
  const std::string base_;
  HttpClient http_;
  Mutex fetching_;  // one request at a time: who waited finds the token, or the failure
  std::optional<Failure> failure_ GUARDED_BY(fetching_);
  Guarded<std::map<std::string, Token>> tokens_;  // by path
};

}  // namespace commissure
