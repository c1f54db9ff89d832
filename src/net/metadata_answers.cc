#include "net/metadata_answers.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <utility>

#include "core/json.h"
#include "net/jwt.h"

namespace commissure {

namespace {

/// Whether a token may stand in a header field: visible characters alone (RFC 6750, section 2.1, is stricter).
bool fits_header(const std::string& token) {
  return !token.empty() && std::ranges::all_of(token, [](char c) { return c > ' ' && c < 0x7f; });
}

}  // namespace

Result<GivenToken> read_access_token(const std::string& body, std::chrono::system_clock::time_point now) {
  const auto json = parse_json(body, 8);  // its error would quote the answer
  const Json* const text = json ? find_member(*json, "access_token") : nullptr;
  const Json* const left = json ? find_member(*json, "expires_in") : nullptr;
  if (text == nullptr || !text->is_string() || !fits_header(text->get_ref<const std::string&>()) || left == nullptr ||
      !left->is_number_integer()) {
    return Error(Code::kDataLoss, "the metadata server's answer has no access_token and expires_in");
  }
  const auto lifetime = std::clamp<std::int64_t>(left->get<std::int64_t>(), 0, 86'400);
  return GivenToken{text->get<std::string>(), now + std::chrono::seconds(lifetime)};
}

Result<GivenToken> read_identity_token(const std::string& body, std::chrono::system_clock::time_point) {
  std::string text = body;
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) text.pop_back();
  const auto jwt = parse_jwt(text);
  if (!jwt) return Error(Code::kDataLoss, "the metadata server's identity token: ", jwt.error().message());
  const auto expires = jwt->expires();
  if (!expires) return Error(Code::kDataLoss, "the metadata server's identity token has no expiry (exp)");
  return GivenToken{std::move(text), *expires};
}

}  // namespace commissure
