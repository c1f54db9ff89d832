#include "support/fake_tokens.h"

namespace commissure::testing {

std::string base64url(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string text;
  unsigned bits = 0;
  int n_bits = 0;
  for (const char c : bytes) {
    bits = bits << 8 | static_cast<unsigned char>(c);
    for (n_bits += 8; n_bits >= 6; n_bits -= 6) text.push_back(kDigits[bits >> (n_bits - 6) & 63]);
  }
  if (n_bits > 0) text.push_back(kDigits[bits << (6 - n_bits) & 63]);
  return text;
}

std::string unsigned_token(const Json& claims) {
  return base64url(R"({"alg":"RS256","kid":"k1","typ":"JWT"})") + "." + base64url(dump_json(claims)) +
         ".SIGNATURE_REMOVED_BY_GOOGLE";
}

}  // namespace commissure::testing
