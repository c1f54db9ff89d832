#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace commissure::testing {

/// Values in [-1, 1) that depend on seed and name alone.
std::vector<float> noise(std::string_view name, std::uint64_t seed, std::int64_t n);

/// The rows of each head as GGUF files of Llama hold them: row (half, i) moves to (i, half). `n_cols` 1: a bias.
std::vector<float> interleaved_rows(const std::vector<float>& values, int n_heads, std::int64_t n_cols);

/// As Q8_0 stores them; a multiple of 32 values.
std::string q8_0_bytes(const std::vector<float>& values);

}  // namespace commissure::testing
