#include "net/tls_files.h"

#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>

#include "core/index.h"

namespace commissure {

namespace {

template <typename T>
using Owned = std::unique_ptr<T, void (*)(T*)>;

Owned<BIO> reader_of(const std::string& text) { return {BIO_new_mem_buf(text.data(), count_of(text)), BIO_free_all}; }

Owned<X509> first_certificate(const std::string& pem) {
  return {PEM_read_bio_X509(reader_of(pem).get(), nullptr, nullptr, nullptr), X509_free};
}

/// A key behind a passphrase is refused; the default callback would ask on the terminal.
int no_passphrase(char*, int, int, void*) { return -1; }

Result<std::string> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file || text.empty()) return Error(Code::kNotFound, "cannot read ", path);
  return text;
}

}  // namespace

Result<TlsPair> read_tls_pair(const std::string& certificate_file, const std::string& key_file) {
  TlsPair pair;
  pair.certificates = TRY(read_file(certificate_file));
  pair.key = TRY(read_file(key_file));
  const auto certificate = first_certificate(pair.certificates);
  if (!certificate) return Error(Code::kInvalidArgument, certificate_file, " holds no PEM certificate");
  const Owned<EVP_PKEY> key(PEM_read_bio_PrivateKey(reader_of(pair.key).get(), nullptr, no_passphrase, nullptr),
                            EVP_PKEY_free);
  if (!key) return Error(Code::kInvalidArgument, key_file, " holds no PEM private key without a passphrase");
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    return Error(Code::kInvalidArgument, key_file, " is not the key of the certificate in ", certificate_file);
  }
  if (X509_cmp_current_time(X509_get0_notAfter(certificate.get())) < 0) {
    return Error(Code::kInvalidArgument, "the certificate in ", certificate_file, " has expired");
  }
  return pair;
}

Result<std::string> own_root_certificates() {
  const char* const path = std::getenv("SSL_CERT_FILE");
  if (path == nullptr || *path == '\0') return std::string();
  auto text = read_file(path);
  if (!text) return text.error().within("SSL_CERT_FILE");
  if (!first_certificate(*text)) {
    return Error(Code::kInvalidArgument, "SSL_CERT_FILE: ", path, " holds no PEM certificate");
  }
  return text;
}

}  // namespace commissure
