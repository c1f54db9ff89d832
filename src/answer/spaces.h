#pragma once

#include <cstddef>
#include <string_view>

namespace commissure {

/// What JSON takes for white space.
inline constexpr std::string_view kSpaces = " \n\r\t";

constexpr bool is_space(char c) { return kSpaces.find(c) != std::string_view::npos; }

/// The text without white space at its end.
constexpr std::string_view without_trailing_space(std::string_view text) {
  return text.substr(0, text.find_last_not_of(kSpaces) + 1);
}

/// The text without white space at its ends.
constexpr std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kSpaces);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpaces) + 1 - first);
}

}  // namespace commissure
