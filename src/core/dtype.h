#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace commissure {

/// Element types of tensors: plain floats, the block formats of GGUF, and NF4.
/// Source: ggml block formats, written down in src/kernels/quant.h.
enum class DType : std::uint8_t {
  kF32,
  kF16,
  kBF16,
  kQ8_0,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kI32,
  kNF4,
  kU8,  ///< bytes that stand for something else: no numbers to compute with
  kMXFP4,
};

/// Size of a block: `n_elements` values are stored in `n_bytes` bytes (1 element for plain types).
struct BlockSize {
  int n_elements;
  int n_bytes;
};

BlockSize block_size(DType dtype);
/// "F32", "Q4_K", ... as GGUF spells them.
std::string_view dtype_name(DType dtype);
/// Bytes of a row of `n_cols` values; n_cols must be a multiple of the block.
std::size_t row_bytes(DType dtype, std::int64_t n_cols);
inline bool is_quantised(DType dtype) { return block_size(dtype).n_elements > 1; }

/// bf16 is the upper half of an f32.
using bf16 = std::uint16_t;

inline float to_float(bf16 value) { return std::bit_cast<float>(std::uint32_t{value} << 16); }

/// Round to nearest even; NaN stays NaN.
inline bf16 to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<bf16>((bits >> 16) | 0x40u);
  return static_cast<bf16>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

/// IEEE half to f32, exact.
float half_to_float(std::uint16_t half);
/// f32 to IEEE half, round to nearest even.
std::uint16_t float_to_half(float value);

}  // namespace commissure
