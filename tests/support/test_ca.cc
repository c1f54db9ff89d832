#include "support/test_ca.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include <vector>

#include "core/check.h"
#include "support/fake_tokens.h"

namespace commissure::testing {

namespace {

using Key = std::shared_ptr<evp_pkey_st>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;

Key new_key() { return {EVP_RSA_gen(2048), EVP_PKEY_free}; }

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long length = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<std::size_t>(length));
  BIO_free_all(bio);
  return text;
}

std::string pem(X509* certificate) {
  BIO* const bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(bio, certificate);
  return text_of(bio);
}

std::string pem(EVP_PKEY* key) {
  BIO* const bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr);
  return text_of(bio);
}

struct Subject {
  const char* name;
  int extension;
  const char* value;
  int days;
};

/// Signed by `issuer`, or by itself when there is none.
Certificate new_certificate(const Subject& subject, EVP_PKEY* key, X509* issuer, EVP_PKEY* issuer_key) {
  Certificate made(X509_new(), X509_free);
  X509_set_version(made.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(made.get()), issuer == nullptr ? 1 : 2);
  X509_gmtime_adj(X509_getm_notBefore(made.get()), -10L * 86'400);
  X509_gmtime_adj(X509_getm_notAfter(made.get()), subject.days * 86'400L);
  X509_NAME* const name = X509_get_subject_name(made.get());
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(subject.name), -1, -1, 0);
  X509_set_issuer_name(made.get(), issuer == nullptr ? name : X509_get_subject_name(issuer));
  X509_set_pubkey(made.get(), key);
  X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, nullptr, subject.extension, subject.value);
  CHECK(extension != nullptr);
  X509_add_ext(made.get(), extension, -1);
  X509_EXTENSION_free(extension);
  CHECK(X509_sign(made.get(), issuer_key, EVP_sha256()) > 0);
  return made;
}

std::string number(const Key& key, const char* which) {
  BIGNUM* value = nullptr;
  CHECK(EVP_PKEY_get_bn_param(key.get(), which, &value) == 1);
  std::string bytes(static_cast<std::size_t>(BN_num_bytes(value)), '\0');
  BN_bn2bin(value, reinterpret_cast<unsigned char*>(bytes.data()));
  BN_free(value);
  return base64url(bytes);
}

}  // namespace

TokenSigner::TokenSigner(std::string key_id) : key_id_(std::move(key_id)), key_(new_key()) {}

std::string TokenSigner::sign(const Json& claims) const {
  const Json header = {{"alg", "RS256"}, {"kid", key_id_}, {"typ", "JWT"}};
  const std::string text = base64url(dump_json(header)) + "." + base64url(dump_json(claims));
  EVP_MD_CTX* const context = EVP_MD_CTX_new();
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
  std::size_t length = 0;
  CHECK(EVP_DigestSignInit(context, nullptr, EVP_sha256(), nullptr, key_.get()) == 1);
  CHECK(EVP_DigestSign(context, nullptr, &length, bytes, text.size()) == 1);
  std::string signature(length, '\0');
  CHECK(EVP_DigestSign(context, reinterpret_cast<unsigned char*>(signature.data()), &length, bytes, text.size()) == 1);
  EVP_MD_CTX_free(context);
  return text + "." + base64url(signature);
}

std::string TokenSigner::jwks() const {
  const Json key = {{"kid", key_id_},
                    {"kty", "RSA"},
                    {"alg", "RS256"},
                    {"use", "sig"},
                    {"n", number(key_, OSSL_PKEY_PARAM_RSA_N)},
                    {"e", number(key_, OSSL_PKEY_PARAM_RSA_E)}};
  return dump_json(Json{{"keys", Json::array({key})}});
}

TestCa TestCa::make(int days) {
  const Key root_key = new_key();
  const Key key = new_key();
  const auto root = new_certificate({"Test CA", NID_basic_constraints, "critical,CA:TRUE", 10}, root_key.get(), nullptr,
                                    root_key.get());
  const auto certificate = new_certificate({"localhost", NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1", days},
                                           key.get(), root.get(), root_key.get());
  return {pem(root.get()), pem(certificate.get()), pem(key.get())};
}

}  // namespace commissure::testing
