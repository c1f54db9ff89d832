#include "net/jwt.h"

#include <algorithm>
#include <cstdint>

namespace commissure {

namespace {

// Google's tokens have about 1 KiB; HTTP/2 servers refuse headers over 8 KiB anyway.
constexpr std::size_t kMaxTokenBytes = 16 << 10;
constexpr int kMaxDepth = 16;

int value_of_digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '-') return 62;
  if (c == '_') return 63;
  return -1;
}

/// JSON errors quote their input, which would put pieces of a secret into a log.
Result<Json> parse_part(std::string_view encoded, std::string_view what) {
  const auto bytes = decode_base64url(encoded);
  auto json = bytes ? parse_json(*bytes, kMaxDepth) : Result<Json>(bytes.error());
  if (!json || !json->is_object()) {
    return Error(Code::kInvalidArgument, "the token's ", what, " is no base64url JSON object");
  }
  return std::move(*json);
}

std::string text_member(const Json& object, std::string_view key) {
  const Json* const value = find_member(object, key);
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
}

}  // namespace

Result<std::string> decode_base64url(std::string_view text) {
  std::string bytes;
  std::uint32_t bits = 0;
  int n_bits = 0;
  for (const char c : text) {
    const int digit = value_of_digit(c);
    if (digit < 0) return Error(Code::kInvalidArgument, "not base64url");
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    n_bits += 6;
    if (n_bits < 8) continue;
    n_bits -= 8;
    bytes.push_back(static_cast<char>(bits >> n_bits & 0xff));
  }
  // A lone digit carries no byte, and the bits left over must be zero: one value has one spelling.
  if (n_bits == 6 || (bits & ((1u << n_bits) - 1)) != 0) return Error(Code::kInvalidArgument, "not base64url");
  return bytes;
}

std::string Jwt::text(std::string_view claim) const { return text_member(claims, claim); }

std::optional<std::chrono::system_clock::time_point> Jwt::expires() const {
  const Json* const exp = find_member(claims, "exp");
  constexpr std::int64_t kYear9999 = 253'402'300'799;
  // The clock counts nanoseconds in 64 bits and ends on a day of 2262: what expires later expires as that day begins.
  constexpr std::chrono::sys_seconds kLatest =
      std::chrono::floor<std::chrono::days>(std::chrono::system_clock::time_point::max());
  if (exp == nullptr || !exp->is_number_integer()) return std::nullopt;
  const auto seconds = exp->get<std::int64_t>();
  if (seconds < 0 || seconds > kYear9999) return std::nullopt;
  return std::min(kLatest, std::chrono::sys_seconds(std::chrono::seconds(seconds)));
}

Result<Jwt> parse_jwt(std::string_view token) {
  if (token.size() > kMaxTokenBytes) {
    return Error(Code::kInvalidArgument, "the token has ", token.size(), " bytes, at most ", kMaxTokenBytes,
                 " are taken");
  }
  const auto first = token.find('.');
  const auto second = first == token.npos ? token.npos : token.find('.', first + 1);
  if (second == token.npos || token.find('.', second + 1) != token.npos) {
    return Error(Code::kInvalidArgument, "the token is no JSON web token (three parts between dots)");
  }
  const Json header = TRY(parse_part(token.substr(0, first), "header"));
  Jwt jwt;
  jwt.claims = TRY(parse_part(token.substr(first + 1, second - first - 1), "payload"));
  jwt.algorithm = text_member(header, "alg");
  jwt.key_id = text_member(header, "kid");
  jwt.signed_part = token.substr(0, second);
  auto signature = decode_base64url(token.substr(second + 1));
  if (!signature) return Error(Code::kInvalidArgument, "the token's signature is not base64url");
  jwt.signature = std::move(*signature);
  return jwt;
}

}  // namespace commissure
