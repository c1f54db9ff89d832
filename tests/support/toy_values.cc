#include "support/toy_values.h"

#include <algorithm>
#include <cmath>

#include "core/dtype.h"
#include "support/checkpoint_writer.h"

namespace commissure::testing {

std::vector<float> noise(std::string_view name, std::uint64_t seed, std::int64_t n) {
  std::uint64_t state = seed * 0x9e3779b97f4a7c15ull;
  for (const char c : name) state = (state ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  std::vector<float> values(static_cast<std::size_t>(n));
  for (float& value : values) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    value = static_cast<float>(static_cast<std::int32_t>(state >> 32)) * 0x1p-31f;
  }
  return values;
}

std::vector<float> interleaved_rows(const std::vector<float>& values, int n_heads, std::int64_t n_cols) {
  const auto cols = static_cast<std::size_t>(n_cols);
  const std::size_t head_dim = values.size() / cols / static_cast<std::size_t>(n_heads);
  std::vector<float> out(values.size());
  for (std::size_t row = 0; row < values.size() / cols; ++row) {
    const std::size_t head = row / head_dim, in_head = row % head_dim;
    const std::size_t to = head * head_dim + in_head % (head_dim / 2) * 2 + in_head / (head_dim / 2);
    std::copy_n(&values[row * cols], cols, &out[to * cols]);
  }
  return out;
}

std::string q8_0_bytes(const std::vector<float>& values) {
  std::string bytes;
  for (std::size_t block = 0; block < values.size(); block += 32) {
    float largest = 0.0f;
    for (std::size_t i = 0; i < 32; ++i) largest = std::max(largest, std::abs(values[block + i]));
    const float d = largest / 127.0f;
    bytes += little_endian(float_to_half(d));
    for (std::size_t i = 0; i < 32; ++i) {
      bytes += static_cast<char>(static_cast<int>(std::lround(d > 0.0f ? values[block + i] / d : 0.0f)));
    }
  }
  return bytes;
}

}  // namespace commissure::testing
