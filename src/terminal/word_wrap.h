#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace commissure {

/// Breaks a text that comes in pieces into lines of a terminal, between words. Control characters but newline and tab
/// are left out: what a model says must not steer the terminal.
class WordWrap {
 public:
  /// `width` columns; 0: lines are not broken.
  explicit WordWrap(int width) : width_(width) {}

  /// Takes the next piece of the text and returns what can be shown now. A word is held back until it is whole, or
  /// longer than a line.
  std::string push(std::string_view piece);
  /// What is still held back at the end of the text.
  std::string finish();

 private:
  void flush_word(std::string& out);

  const int width_;
  int column_ = 0;  ///< where the next character goes
  std::string word_;
  int word_width_ = 0;
  int n_spaces_ = 0;     ///< before the word; dropped when the line is broken there
  std::string partial_;  ///< the beginning of a character
};

/// `text` in lines that end before `width` columns, the further ones begun with `indent` spaces; not broken where there
/// is little room (0: none).
std::string wrapped_lines(std::string_view text, int indent, int width);

/// Columns of the terminal that standard output goes to; 0: it goes to no terminal.
int terminal_width();

/// Columns that a terminal shows a code point in.
int column_width(char32_t code_point);

/// The characters of a text of UTF-8; bytes that begin none are one each.
std::vector<std::string_view> characters_of(std::string_view text);

/// Columns that a terminal shows a text of UTF-8 without control characters in.
std::size_t columns_of(std::string_view text);

}  // namespace commissure
