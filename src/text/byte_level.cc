#include "text/byte_level.h"

#include <cstdint>

#include "text/utf8.h"

namespace commissure {

namespace {

constexpr char32_t kFirstShifted = 0x100;
constexpr int kShiftedCount = 68;

constexpr bool spells_itself(int byte) {
  return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

struct Table {
  std::array<char32_t, 256> character{};
  std::array<unsigned char, kShiftedCount> shifted_byte{};  // of U+0100 + index
};

constexpr Table make_table() {
  Table table;
  int n_shifted = 0;
  for (int byte = 0; byte < 256; ++byte) {
    if (spells_itself(byte)) {
      table.character[byte] = static_cast<char32_t>(byte);
    } else {
      table.shifted_byte[n_shifted] = static_cast<unsigned char>(byte);
      table.character[byte] = kFirstShifted + static_cast<char32_t>(n_shifted++);
    }
  }
  return table;
}

constexpr Table kTable = make_table();

}  // namespace

char32_t byte_level_character(unsigned char byte) { return kTable.character[byte]; }

std::string spell_bytes(std::string_view bytes) {
  std::string spelling;
  spelling.reserve(bytes.size() * 2);
  for (const char c : bytes) append_code_point(spelling, byte_level_character(static_cast<unsigned char>(c)));
  return spelling;
}

std::string unspell_bytes(std::string_view spelling) {
  std::string bytes;
  bytes.reserve(spelling.size());
  for (std::size_t position = 0; position < spelling.size();) {
    const CodePoint point = decode_code_point(spelling, position);
    const std::size_t n_bytes = point.n_bytes;
    if (point.is_valid && point.value < 256 && spells_itself(static_cast<int>(point.value))) {
      bytes.push_back(static_cast<char>(point.value));
    } else if (point.is_valid && point.value >= kFirstShifted && point.value < kFirstShifted + kShiftedCount) {
      bytes.push_back(static_cast<char>(kTable.shifted_byte[point.value - kFirstShifted]));
    } else {
      bytes += spelling.substr(position, n_bytes);
    }
    position += n_bytes;
  }
  return bytes;
}

}  // namespace commissure
