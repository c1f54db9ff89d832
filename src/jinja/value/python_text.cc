#include "jinja/value/python_text.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "jinja/value/unicode_case.h"
#include "text/utf8.h"

namespace commissure::jinja {

namespace {

utf8proc_category_t category(char32_t letter) { return utf8proc_category(static_cast<utf8proc_int32_t>(letter)); }

bool is_mapped(char32_t letter, utf8proc_int32_t (*map)(utf8proc_int32_t)) {
  return map(static_cast<utf8proc_int32_t>(letter)) != static_cast<utf8proc_int32_t>(letter);
}

void append_upper(std::string& out, char32_t letter) {
  if (const auto special = special_upper(letter); !special.empty()) {
    out += special;
  } else {
    append_code_point(out, static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(letter))));
  }
}

void append_title(std::string& out, char32_t letter) {
  if (const auto special = special_title(letter); !special.empty()) {
    out += special;
  } else {
    append_code_point(out, static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(letter))));
  }
}

bool is_case_ignorable(char32_t letter) {
  switch (category(letter)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK: return true;
    default: return letter == '\'' || letter == '.' || letter == ':' || letter == 0xB7 || letter == 0x2019;
  }
}

/// A sigma at a word's end has a form of its own.
bool is_final_sigma(std::string_view text, std::size_t begin, std::size_t end) {
  bool before = false;
  for (std::size_t at = begin; at > 0 && !before;) {
    do --at;
    while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80);
    std::size_t position = at;
    const char32_t letter = next_code_point(text, position);
    if (is_case_ignorable(letter)) continue;
    before = is_cased(letter);
    break;
  }
  if (!before) return false;
  while (end < text.size()) {
    const char32_t letter = next_code_point(text, end);
    if (is_case_ignorable(letter)) continue;
    return !is_cased(letter);
  }
  return true;
}

void append_lower(std::string& out, std::string_view text, std::size_t begin, std::size_t end, char32_t letter) {
  if (letter == 0x130) {
    out += "i\u0307";
  } else if (letter == 0x3A3 && is_final_sigma(text, begin, end)) {
    out += "\u03c2";
  } else {
    append_code_point(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(letter))));
  }
}

template <typename Append>
std::string map_letters(std::string_view text, Append append) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    const char32_t letter = next_code_point(text, at);
    append(out, begin, at, letter);
  }
  return out;
}

template <typename InSet>
std::string_view strip_where(std::string_view text, Side side, InSet in_set) {
  if (side != Side::kRight) {
    std::size_t at = 0;
    while (at < text.size()) {
      std::size_t next = at;
      if (!in_set(next_code_point(text, next))) break;
      at = next;
    }
    text.remove_prefix(at);
  }
  while (side != Side::kLeft && !text.empty()) {
    std::size_t at = text.size() - 1;
    while (at > 0 && text.size() - at < 4 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
    std::size_t next = at;
    if (!in_set(next_code_point(text, next))) break;
    text = text.substr(0, at);
  }
  return text;
}

}  // namespace

bool is_ascii(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) >= 0x80) return false;
  }
  return true;
}

std::size_t count_code_points(std::string_view text) {
  std::size_t n = 0;
  for (const char c : text) n += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return n;
}

std::size_t byte_offset(std::string_view text, std::size_t index) {
  std::size_t at = 0;
  while (at < text.size()) {
    if ((static_cast<unsigned char>(text[at]) & 0xC0) != 0x80 && index-- == 0) return at;
    ++at;
  }
  return at;
}

char32_t next_code_point(std::string_view text, std::size_t& position) {
  const auto first = static_cast<unsigned char>(text[position]);
  if (first < 0x80) {
    ++position;
    return first;
  }
  const CodePoint point = decode_code_point(text, position);
  position += static_cast<std::size_t>(point.n_bytes);
  return point.is_valid ? point.value : U'\uFFFD';
}

std::vector<std::string_view> split_code_points(std::string_view text) {
  std::vector<std::string_view> parts;
  parts.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    next_code_point(text, at);
    parts.push_back(text.substr(begin, at - begin));
  }
  return parts;
}

bool is_python_space(char32_t letter) {
  if (letter < 0x80) return letter == ' ' || (letter >= 9 && letter <= 13) || (letter >= 0x1C && letter <= 0x1F);
  return letter == 0x85 || category(letter) == UTF8PROC_CATEGORY_ZS || letter == 0x2028 || letter == 0x2029;
}

bool is_printable(char32_t letter) {
  if (letter < 0x80) return letter >= 0x20 && letter < 0x7F;
  switch (category(letter)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS: return false;
    default: return true;
  }
}

bool is_alpha(char32_t letter) {
  const auto found = category(letter);
  return found >= UTF8PROC_CATEGORY_LU && found <= UTF8PROC_CATEGORY_LO;
}

bool is_decimal(char32_t letter) { return category(letter) == UTF8PROC_CATEGORY_ND; }

bool is_digit(char32_t letter) {
  return is_decimal(letter) || letter == 0xB2 || letter == 0xB3 || letter == 0xB9 || letter == 0x2070 ||
         (letter >= 0x2074 && letter <= 0x2079) || (letter >= 0x2080 && letter <= 0x2089) ||
         (letter >= 0x2460 && letter <= 0x2468) || (letter >= 0x2474 && letter <= 0x247C) ||
         (letter >= 0x2488 && letter <= 0x2490);
}

bool is_numeric(char32_t letter) {
  const auto found = category(letter);
  if (found == UTF8PROC_CATEGORY_ND || found == UTF8PROC_CATEGORY_NL || found == UTF8PROC_CATEGORY_NO) return true;
  // Han numerals, which Unihan gives a numeric value.
  static constexpr std::u32string_view kHan = U"零一二三四五六七八九十百千万億兆〇";
  return kHan.find(letter) != std::u32string_view::npos;
}

bool is_upper(char32_t letter) {
  return category(letter) == UTF8PROC_CATEGORY_LU || (letter >= 0x2160 && letter <= 0x216F) ||
         (letter >= 0x24B6 && letter <= 0x24CF);
}

bool is_lower(char32_t letter) {
  return category(letter) == UTF8PROC_CATEGORY_LL || letter == 0xAA || letter == 0xBA ||
         (letter >= 0x2B0 && letter <= 0x2B8) || (letter >= 0x2170 && letter <= 0x217F) ||
         (letter >= 0x24D0 && letter <= 0x24E9);
}

bool is_title(char32_t letter) { return category(letter) == UTF8PROC_CATEGORY_LT; }

bool is_cased(char32_t letter) { return is_upper(letter) || is_lower(letter) || is_title(letter); }

bool is_word(char32_t letter) { return letter == '_' || is_alpha(letter) || is_numeric(letter); }

std::string to_upper(std::string_view text) {
  return map_letters(text, [](std::string& out, std::size_t, std::size_t, char32_t c) { append_upper(out, c); });
}

std::string to_lower(std::string_view text) {
  return map_letters(text, [text](std::string& out, std::size_t begin, std::size_t end, char32_t c) {
    append_lower(out, text, begin, end, c);
  });
}

std::string to_title(std::string_view text) {
  bool in_word = false;
  return map_letters(text, [&](std::string& out, std::size_t begin, std::size_t end, char32_t c) {
    if (in_word) {
      append_lower(out, text, begin, end, c);
    } else {
      append_title(out, c);
    }
    in_word = is_cased(c);
  });
}

std::string capitalized(std::string_view text) {
  return map_letters(text, [text](std::string& out, std::size_t begin, std::size_t end, char32_t c) {
    if (begin == 0) {
      append_title(out, c);
    } else {
      append_lower(out, text, begin, end, c);
    }
  });
}

std::string swapped_case(std::string_view text) {
  return map_letters(text, [text](std::string& out, std::size_t begin, std::size_t end, char32_t c) {
    if (is_upper(c)) {
      append_lower(out, text, begin, end, c);
    } else if (is_lower(c) || is_mapped(c, &utf8proc_toupper)) {
      append_upper(out, c);
    } else {
      append_code_point(out, c);
    }
  });
}

std::string_view strip(std::string_view text, Side side) { return strip_where(text, side, is_python_space); }

std::string_view strip(std::string_view text, Side side, std::string_view set) {
  std::u32string letters;
  for (std::size_t at = 0; at < set.size();) letters += next_code_point(set, at);
  std::ranges::sort(letters);
  return strip_where(text, side, [&](char32_t c) { return std::ranges::binary_search(letters, c); });
}

void append_repr(std::string& out, std::string_view text) {
  const char quote = text.find('\'') != text.npos && text.find('"') == text.npos ? '"' : '\'';
  out += quote;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    const char32_t letter = next_code_point(text, at);
    if (letter == static_cast<char32_t>(quote) || letter == '\\') {
      out += '\\';
      out += static_cast<char>(letter);
    } else if (letter == '\n' || letter == '\r' || letter == '\t') {
      out += letter == '\n' ? "\\n" : letter == '\r' ? "\\r" : "\\t";
    } else if (is_printable(letter)) {
      out += text.substr(begin, at - begin);
    } else if (letter < 0x100) {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<unsigned>(letter));
    } else if (letter < 0x10000) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(letter));
    } else {
      fmt::format_to(std::back_inserter(out), "\\U{:08x}", static_cast<unsigned>(letter));
    }
  }
  out += quote;
}

std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::array<char, 32> room;
  const auto written = std::to_chars(room.data(), room.data() + room.size(), value, std::chars_format::scientific);
  const std::string_view text(room.data(), static_cast<std::size_t>(written.ptr - room.data()));
  const std::size_t mark = text.find('e');
  const int exponent = std::stoi(std::string(text.substr(mark + 1)));
  if (exponent < -4 || exponent >= 16) {
    // Python writes at least two digits, as C++ does.
    return std::string(text);
  }
  std::array<char, 64> plain;
  const auto end = std::to_chars(plain.data(), plain.data() + plain.size(), value, std::chars_format::fixed);
  std::string result(plain.data(), end.ptr);
  if (result.find('.') == std::string::npos) result += ".0";
  return result;
}

}  // namespace commissure::jinja
