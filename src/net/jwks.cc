#include "net/jwks.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include <optional>

#include "core/index.h"
#include "core/scarce.h"

namespace commissure {

namespace {

constexpr int kMinRsaBits = 2048;
constexpr int kMaxRsaBits = 8192;

using Key = std::shared_ptr<evp_pkey_st>;
template <typename T>
using Owned = std::unique_ptr<T, void (*)(T*)>;

/// A member that is a number in base64url, as bytes; empty when it is none.
std::string number_member(const Json& object, std::string_view name) {
  const Json* const text = find_member(object, name);
  if (text == nullptr || !text->is_string()) return {};
  return decode_base64url(text->get<std::string>()).value_or("");
}

Owned<BIGNUM> big_number(const std::string& bytes) {
  return {BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes.data()), count_of(bytes), nullptr), BN_free};
}

/// Null when the numbers make no acceptable key.
Key rsa_key(const std::string& modulus, const std::string& exponent) {
  if (modulus.empty() || modulus.size() > kMaxRsaBits / 8 || exponent.empty() || exponent.size() > 8) return nullptr;
  const auto n = big_number(modulus);
  const auto e = big_number(exponent);
  const Owned<OSSL_PARAM_BLD> builder(OSSL_PARAM_BLD_new(), OSSL_PARAM_BLD_free);
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get());
  const Owned<OSSL_PARAM> parameters(OSSL_PARAM_BLD_to_param(builder.get()), OSSL_PARAM_free);
  const Owned<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new_from_name(nullptr, "RSA", nullptr), EVP_PKEY_CTX_free);
  if (!n || !e || !builder || !parameters || !context) return nullptr;  // no memory
  EVP_PKEY* key = nullptr;
  if (EVP_PKEY_fromdata_init(context.get()) <= 0 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, parameters.get()) <= 0) {
    return nullptr;
  }
  Key owned(key, EVP_PKEY_free);
  return EVP_PKEY_get_bits(key) < kMinRsaBits ? nullptr : owned;
}

std::string text_member(const Json& object, std::string_view name) {
  const Json* const text = find_member(object, name);
  return text != nullptr && text->is_string() ? text->get<std::string>() : std::string();
}

}  // namespace

Result<Jwks> Jwks::parse(std::string_view text) {
  const Json json = TRY(parse_json(text, 8));
  const Json* const list = find_member(json, "keys");
  if (list == nullptr || !list->is_array()) return Error(Code::kInvalidArgument, "a key set needs a list \"keys\"");
  Jwks set;
  for (const Json& entry : *list) {
    const std::string id = text_member(entry, "kid");
    if (id.empty() || text_member(entry, "kty") != "RSA") continue;
    if (Key key = rsa_key(number_member(entry, "n"), number_member(entry, "e"))) set.keys_[id] = std::move(key);
  }
  if (set.keys_.empty()) {
    return Error(Code::kInvalidArgument, "no RSA key with an id and at least ", kMinRsaBits, " bits in the key set");
  }
  return set;
}

Status Jwks::verify(const Jwt& token) const {
  if (token.algorithm != "RS256") return Error(Code::kUnauthenticated, "the token is not signed with RS256");
  const auto key = keys_.find(token.key_id);
  if (key == keys_.end()) return Error(Code::kUnauthenticated, "the token is signed with a key that is not known here");
  const Owned<EVP_MD_CTX> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  const auto* signature = reinterpret_cast<const unsigned char*>(token.signature.data());
  const auto* text = reinterpret_cast<const unsigned char*>(token.signed_part.data());
  if (!context) return no_memory(Code::kUnavailable);
  if (EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key->second.get()) <= 0 ||
      EVP_DigestVerify(context.get(), signature, token.signature.size(), text, token.signed_part.size()) != 1) {
    return Error(Code::kUnauthenticated, "the token's signature is wrong");
  }
  return {};
}

}  // namespace commissure
