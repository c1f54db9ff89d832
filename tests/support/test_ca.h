#pragma once

#include <memory>
#include <string>

#include "core/json.h"

struct evp_pkey_st;

namespace commissure::testing {

/// An RSA key of 2048 bits that signs tokens.
class TokenSigner {
 public:
  explicit TokenSigner(std::string key_id);
  /// A token over these claims, RS256.
  std::string sign(const Json& claims) const;
  /// The public half as a key set.
  std::string jwks() const;

 private:
  const std::string key_id_;
  std::shared_ptr<evp_pkey_st> key_;
};

/// A certificate authority, and the certificate of a server on "localhost" and 127.0.0.1 that it has signed; PEM.
struct TestCa {
  std::string root;
  std::string certificate;
  std::string key;

  /// `days` until the server's certificate expires; below zero: it has.
  static TestCa make(int days = 1);
};

}  // namespace commissure::testing
