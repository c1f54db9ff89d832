#pragma once

#include <string>

#include "core/result.h"

namespace commissure {

/// A certificate chain and its private key, PEM.
struct TlsPair {
  std::string certificates;
  std::string key;
};

/// Reads both files and checks that they belong together and have not expired.
/// Errors: kNotFound, kInvalidArgument, naming the file, never its content.
Result<TlsPair> read_tls_pair(const std::string& certificate_file, const std::string& key_file);

/// The certificates in the file that SSL_CERT_FILE names, PEM; empty when the variable is not set, which means the
/// system's own certificates. Errors: kNotFound; kInvalidArgument, no certificate in the file.
Result<std::string> own_root_certificates();

}  // namespace commissure
