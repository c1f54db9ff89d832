#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "core/result.h"
#include "net/jwt.h"

struct evp_pkey_st;

namespace commissure {

/// The public RSA keys of an issuer of tokens (RFC 7517). A value; copies share the keys.
class Jwks {
 public:
  /// Takes the keys that can check RS256 and have a key id; others in the set are left out.
  /// Errors: kInvalidArgument, no JSON key set, or no usable key in it.
  static Result<Jwks> parse(std::string_view json);

  bool has(const std::string& key_id) const { return keys_.contains(key_id); }

  /// Whether one of these keys has signed the token (RS256 and nothing else).
  /// Errors: kUnauthenticated.
  Status verify(const Jwt& token) const;

 private:
  std::map<std::string, std::shared_ptr<evp_pkey_st>> keys_;  // shared: OpenSSL counts references, as copies do
};

}  // namespace commissure
