#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace commissure {

/// U+FFFD as UTF-8.
inline constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

/// One code point of a text and how many bytes it takes.
struct CodePoint {
  char32_t value = 0;
  int n_bytes = 0;        ///< 0 at the end of the text
  bool is_valid = false;  ///< false: `n_bytes` bytes that no code point begins with
  bool is_cut = false;    ///< with !is_valid: the text ended inside a code point
};

/// Reads one code point of `text` at `position`. An invalid sequence takes its longest prefix that could have
/// begun a code point, so that each becomes one U+FFFD.
/// Source: Unicode 15, section 3.9, "U+FFFD Substitution of Maximal Subparts".
CodePoint decode_code_point(std::string_view text, std::size_t position);

/// Appends `value` as UTF-8.
void append_code_point(std::string& text, char32_t value);

/// How many bytes at the front of `text` are valid UTF-8.
std::size_t valid_utf8_prefix(std::string_view text);

/// How many bytes of `text` stand before a code point that the end of the text cuts off; all of them where no code
/// point is cut off. Bytes that are invalid for another reason count: text that follows cannot make them valid.
std::size_t finished_utf8(std::string_view text);

/// `text` with invalid sequences replaced by U+FFFD.
std::string replace_invalid_utf8(std::string_view text);

}  // namespace commissure
