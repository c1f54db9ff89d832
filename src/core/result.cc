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

void Error::append_text(std::string_view part) { message_ += short_text(part, kMostPartBytes); }

}  // namespace commissure
