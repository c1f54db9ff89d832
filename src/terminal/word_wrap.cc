#include "terminal/word_wrap.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace commissure {

namespace {

/// First and last of the ranges that are two columns wide. Source: Unicode's East Asian Width, W and F, merged.
constexpr std::pair<char32_t, char32_t> kWide[] = {
    {0x1100, 0x115f}, {0x2e80, 0x303e}, {0x3041, 0xa4cf},   {0xac00, 0xd7a3},   {0xf900, 0xfaff},   {0xfe30, 0xfe6f},
    {0xff00, 0xff60}, {0xffe0, 0xffe6}, {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1faff}, {0x20000, 0x3fffd}};
/// Marks that go onto the character before.
constexpr std::pair<char32_t, char32_t> kNone[] = {
    {0x0300, 0x036f}, {0x200b, 0x200f}, {0x20d0, 0x20ff}, {0xfe00, 0xfe0f}, {0xe0100, 0xe01ef}};

template <typename Ranges>
bool holds(const Ranges& ranges, char32_t code_point) {
  return std::any_of(std::begin(ranges), std::end(ranges),
                     [&](const auto& range) { return range.first <= code_point && code_point <= range.second; });
}

/// Bytes of the UTF-8 character that begins so; 1 for what begins none.
std::size_t length_of(unsigned char first) {
  return first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf8 ? 4 : 1;
}

char32_t decode(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  if (character.size() == 1) return first;
  char32_t code_point = first & (0xffu >> (character.size() + 1));
  for (const char c : character.substr(1)) code_point = code_point << 6 | (static_cast<unsigned char>(c) & 0x3f);
  return code_point;
}

}  // namespace

std::string wrapped_lines(std::string_view text, int indent, int width) {
  WordWrap wrap(width > indent + 20 ? width - indent : 0);
  std::string lines = wrap.push(text);
  lines += wrap.finish();
  std::string out;
  for (const char letter : lines) {
    out += letter;
    if (letter == '\n') out.append(static_cast<std::size_t>(indent), ' ');
  }
  return out;
}

int terminal_width() {
  winsize size{};
  if (isatty(STDOUT_FILENO) == 0 || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) return 0;
  return size.ws_col;
}

int column_width(char32_t code_point) {
  if (holds(kNone, code_point)) return 0;
  return holds(kWide, code_point) ? 2 : 1;
}

std::vector<std::string_view> characters_of(std::string_view text) {
  std::vector<std::string_view> characters;
  while (!text.empty()) {
    characters.push_back(text.substr(0, length_of(static_cast<unsigned char>(text.front()))));
    text.remove_prefix(characters.back().size());
  }
  return characters;
}

std::size_t columns_of(std::string_view text) {
  std::size_t n_columns = 0;
  for (const std::string_view character : characters_of(text))
    n_columns += static_cast<std::size_t>(column_width(decode(character)));
  return n_columns;
}

void WordWrap::flush_word(std::string& out) {
  if (width_ > 0 && column_ > 0 && word_width_ > 0 && column_ + n_spaces_ + word_width_ > width_) {
    out += '\n';
    column_ = 0;
  } else {
    out.append(static_cast<std::size_t>(n_spaces_), ' ');
    column_ += n_spaces_;
  }
  out += word_;
  column_ += word_width_;
  word_.clear();
  word_width_ = n_spaces_ = 0;
}

std::string WordWrap::push(std::string_view piece) {
  std::string out;
  const std::string text = std::exchange(partial_, "") + std::string(piece);
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t n = length_of(static_cast<unsigned char>(text[i]));
    if (i + n > text.size()) {
      partial_ = text.substr(i);
      break;
    }
    const std::string_view character = std::string_view(text).substr(i, n);
    i += n;
    const char32_t code_point = decode(character);
    if (code_point == '\n') {
      flush_word(out);
      out += '\n';
      column_ = 0;
    } else if (code_point == ' ' || code_point == '\t') {
      if (!word_.empty()) flush_word(out);
      n_spaces_ += code_point == ' ' ? 1 : 4;
    } else if (code_point >= 0x20 && (code_point < 0x7f || code_point >= 0xa0)) {
      word_ += character;
      word_width_ += column_width(code_point);
      if (width_ == 0 || word_width_ < width_) continue;
      flush_word(out);  // the terminal breaks it
      column_ %= width_;
    }
  }
  return out;
}

std::string WordWrap::finish() {
  std::string out;
  word_ += std::exchange(partial_, "");
  flush_word(out);
  return out;
}

}  // namespace commissure
