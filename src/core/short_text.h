#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace commissure {

/// The text as part of a message: its first `most` bytes where it is longer, without a part of a character, and "...".
inline std::string short_text(std::string_view text, std::size_t most) {
  if (text.size() <= most) return std::string(text);
  std::size_t end = most;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return std::string(text.substr(0, end)) + "...";
}

}  // namespace commissure
