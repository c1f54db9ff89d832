#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/result.h"

namespace commissure {

/// Incremental SHA-256. Source: FIPS 180-4, by OpenSSL.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void update(std::span<const std::byte> bytes);
  void update(std::string_view text) { update(std::as_bytes(std::span(text))); }
  /// Lower-case hex; call once.
  std::string finish();

 private:
  void* context_;  // owned EVP_MD_CTX
};

/// SHA-256 of a file in lower-case hex. Errors: kNotFound or kDataLoss, the file cannot be read.
Result<std::string> sha256_of_file(const std::string& path);

}  // namespace commissure
