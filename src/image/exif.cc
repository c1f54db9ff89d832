#include "image/exif.h"

#include <cstdint>
#include <cstring>
#include <string_view>

namespace commissure {

namespace {

constexpr std::uint32_t kOrientation = 0x0112;
constexpr std::uint32_t kShort = 3;  // the type of a 16-bit number
constexpr std::size_t kEntryBytes = 12;

/// Numbers at places of a TIFF block, in its byte order; 0 beyond its end.
class Tiff {
 public:
  Tiff(std::span<const std::byte> bytes, bool is_big) : bytes_(bytes), is_big_(is_big) {}

  std::uint32_t number(std::size_t at, std::size_t n_bytes) const {
    if (at > bytes_.size() || n_bytes > bytes_.size() - at) return 0;
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < n_bytes; ++i) {
      value = value << 8 | std::to_integer<std::uint32_t>(bytes_[at + (is_big_ ? i : n_bytes - 1 - i)]);
    }
    return value;
  }

 private:
  std::span<const std::byte> bytes_;
  bool is_big_;
};

bool begins(std::span<const std::byte> bytes, std::string_view with) {
  return bytes.size() >= with.size() && std::memcmp(bytes.data(), with.data(), with.size()) == 0;
}

}  // namespace

int exif_orientation(std::span<const std::byte> block) {
  using namespace std::string_view_literals;
  if (begins(block, "Exif\0\0"sv)) block = block.subspan(6);
  const bool is_big = begins(block, "MM\0*"sv);
  if (!is_big && !begins(block, "II*\0"sv)) return 1;
  const Tiff tiff(block, is_big);
  const std::size_t directory = tiff.number(4, 4);
  const std::uint32_t n_entries = tiff.number(directory, 2);  // at most 65,535
  for (std::uint32_t i = 0; i < n_entries; ++i) {
    const std::size_t entry = directory + 2 + i * kEntryBytes;
    if (tiff.number(entry, 2) != kOrientation) continue;
    const std::uint32_t value = tiff.number(entry + 8, 2);
    return tiff.number(entry + 2, 2) == kShort && value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

}  // namespace commissure
