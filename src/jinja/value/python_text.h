#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace commissure::jinja {

/// Python's view of UTF-8 text: its unit is the code point.

bool is_ascii(std::string_view text);

/// Code points of a text.
std::size_t count_code_points(std::string_view text);

/// Byte offset of the code point `index`; the text's size when there are fewer.
std::size_t byte_offset(std::string_view text, std::size_t index);

/// The code point at `position`, which moves behind it. Invalid bytes count as U+FFFD.
char32_t next_code_point(std::string_view text, std::size_t& position);

/// Code points as texts of their own.
std::vector<std::string_view> split_code_points(std::string_view text);

/// str.isspace of one character, str.isprintable, str.isalpha, ...
bool is_python_space(char32_t letter);
bool is_printable(char32_t letter);
bool is_alpha(char32_t letter);
bool is_decimal(char32_t letter);
bool is_digit(char32_t letter);
bool is_numeric(char32_t letter);
bool is_upper(char32_t letter);
bool is_lower(char32_t letter);
bool is_title(char32_t letter);
bool is_cased(char32_t letter);
bool is_word(char32_t letter);  ///< `\w` of Python's re

std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
std::string to_title(std::string_view text);  ///< str.title
std::string capitalized(std::string_view text);
std::string swapped_case(std::string_view text);

/// `text` without leading, trailing white space, or the characters of `set`.
enum class Side { kLeft, kRight, kBoth };
std::string_view strip(std::string_view text, Side side);
std::string_view strip(std::string_view text, Side side, std::string_view set);

/// repr() of a text, of a float.
void append_repr(std::string& out, std::string_view text);
std::string float_repr(double value);

}  // namespace commissure::jinja
