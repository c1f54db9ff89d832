#pragma once

#include <algorithm>
#include <string>

namespace commissure {

/// The text with A to Z in lower case and every other byte as it is, in any locale.
inline std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return text;
}

}  // namespace commissure
