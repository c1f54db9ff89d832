#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

/// Random numbers by their place alone, so that any part of a model can be made without the rest, with the same bits on
/// every machine: a value hangs on the seed, the tensor's name, its row and its column.
/// Source: the mixing function of SplitMix64; Steele, Lea, Flood, "Fast splittable pseudorandom number generators",
/// OOPSLA 2014.
namespace commissure {

/// A value is one of so many levels, the sum of four random bytes, which is nearly normal.
inline constexpr int kLevels = 1021;
inline constexpr int kMeanLevel = 510;
/// Of the levels: sqrt(4 * (256^2 - 1) / 12).
inline constexpr double kLevelDeviation = 147.80053901119664;

inline constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15u;

constexpr std::uint64_t mix64(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/// What all values of a tensor hang on.
constexpr std::uint64_t tensor_key(std::uint64_t seed, std::string_view name) {
  std::uint64_t key = mix64(seed + kGolden);
  for (const char letter : name) key = mix64((key + kGolden) ^ static_cast<unsigned char>(letter));
  return key;
}

/// Some values of a row.
struct RowPart {
  std::uint64_t key = 0;  ///< tensor_key
  std::int64_t row = 0;
  std::size_t first = 0;  ///< column, even
  std::size_t n = 0;
};

/// Writes what `table` has for the level of each of these values, every kStep-th place; `out` need not be aligned.
template <std::size_t kStep = 1, typename T>
void draw_row(const RowPart& part, const std::array<T, kLevels>& table, std::byte* out) {
  const std::uint64_t row_key = mix64(part.key + kGolden * (static_cast<std::uint64_t>(part.row) + 1));
  const auto put = [&](std::size_t i, std::uint64_t level) {
    std::memcpy(out + i * kStep * sizeof(T), &table[level], sizeof(T));
  };
  const std::size_t n = part.n;
  for (std::size_t i = 0; i < n; i += 2) {
    constexpr std::uint64_t kEvenBytes = 0x00ff00ff00ff00ffu;
    const std::uint64_t random = mix64(row_key + kGolden * (part.first + i));
    const std::uint64_t pairs = (random & kEvenBytes) + ((random >> 8) & kEvenBytes);  // four sums of two bytes
    const std::uint64_t sums = pairs + (pairs >> 16);
    put(i, sums & 0xffffu);
    if (i + 1 < n) put(i + 1, (sums >> 32) & 0xffffu);
  }
}

}  // namespace commissure
