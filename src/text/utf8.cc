#include "text/utf8.h"

namespace commissure {

namespace {

/// What a lead byte says about its sequence: length and the range of its second byte.
struct Lead {
  int n_bytes;
  unsigned char second_low, second_high;
};

Lead classify_lead(unsigned char byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};  // below: overlong
  if (byte == 0xED) return {3, 0x80, 0x9F};  // above: surrogates
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};  // below: overlong
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};  // above: beyond U+10FFFF
  return {0, 0, 0};
}

}  // namespace

CodePoint decode_code_point(std::string_view text, std::size_t position) {
  if (position >= text.size()) return {};
  const auto first = static_cast<unsigned char>(text[position]);
  if (first < 0x80) return {first, 1, true, false};
  const Lead lead = classify_lead(first);
  if (lead.n_bytes == 0) return {0, 1, false, false};

  char32_t value = first & (0xFFu >> (lead.n_bytes + 1));
  unsigned char low = lead.second_low, high = lead.second_high;
  for (int i = 1; i < lead.n_bytes; ++i) {
    if (position + i >= text.size()) return {0, i, false, true};
    const auto byte = static_cast<unsigned char>(text[position + i]);
    if (byte < low || byte > high) return {0, i, false, false};
    value = (value << 6) | (byte & 0x3Fu);
    low = 0x80, high = 0xBF;
  }
  return {value, lead.n_bytes, true, false};
}

void append_code_point(std::string& text, char32_t value) {
  const auto put = [&text](char32_t byte) { text.push_back(static_cast<char>(byte)); };
  if (value < 0x80) {
    put(value);
  } else if (value < 0x800) {
    put(0xC0 | (value >> 6));
    put(0x80 | (value & 0x3F));
  } else if (value < 0x10000) {
    put(0xE0 | (value >> 12));
    put(0x80 | ((value >> 6) & 0x3F));
    put(0x80 | (value & 0x3F));
  } else {
    put(0xF0 | (value >> 18));
    put(0x80 | ((value >> 12) & 0x3F));
    put(0x80 | ((value >> 6) & 0x3F));
    put(0x80 | (value & 0x3F));
  }
}

std::size_t valid_utf8_prefix(std::string_view text) {
  std::size_t position = 0;
  while (position < text.size()) {
    const CodePoint point = decode_code_point(text, position);
    if (!point.is_valid) break;
    position += point.n_bytes;
  }
  return position;
}

std::size_t finished_utf8(std::string_view text) {
  for (std::size_t n_tail = 1; n_tail <= 3 && n_tail <= text.size(); ++n_tail) {
    if (decode_code_point(text, text.size() - n_tail).is_cut) return text.size() - n_tail;
  }
  return text.size();
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const std::size_t n_valid = valid_utf8_prefix(text);
    result += text.substr(0, n_valid);
    text.remove_prefix(n_valid);
    if (text.empty()) break;
    result += kReplacement;
    text.remove_prefix(decode_code_point(text, 0).n_bytes);
  }
  return result;
}

}  // namespace commissure
