#include "core/result.h"

#include <array>

#include "core/index.h"
#include "core/short_text.h"

namespace commissure {

std::string_view code_name(Code code) {
  static constexpr std::array<std::string_view, 17> kNames = {
      "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
      "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
      "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
      "DATA_LOSS", "UNAUTHENTICATED"};
  const int index = static_cast<int>(code);
  return has_index(kNames, index) ? kNames[index] : "UNKNOWN";
}

std::string Error::to_string() const { return fmt::format("{}: {}", code_name(code_), message_); }

Error Error::within(std::string_view context) const {
  Error wider(code_, context, ": ");
  wider.message_ += message_;
  return wider;
}

void Error::append_text(std::string_view part) {
  constexpr std::size_t kLastBytes = 512;
  message_ += short_text(part, kMostPartBytes);
  if (part.size() <= kMostPartBytes) return;
  part.remove_prefix(part.size() - kLastBytes);
  while (!part.empty() && (static_cast<unsigned char>(part.front()) & 0xc0) == 0x80) part.remove_prefix(1);
  message_ += part;
}

}  // namespace commissure
