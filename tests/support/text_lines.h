#pragma once

#include <algorithm>
#include <string_view>
#include <vector>

namespace commissure::testing {

/// The lines of a text, without their ends; the last one may lack its own.
inline std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

}  // namespace commissure::testing
