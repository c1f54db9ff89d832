#pragma once

#include <cstdint>
#include <span>

#include "core/dtype.h"
#include "core/result.h"

/// The block formats of GGUF, byte for byte, and their exact meaning.
/// In the formulas y is a value, q its stored integer (a nibble of qs where not said otherwise), d the block's scale
/// and m its minimum (both f16), sc and mn the integer scale and minimum of a sub-block.
/// Source: ggml's formats as written down in the GGUF specification; values checked against llama.cpp.
namespace commissure {

#pragma pack(push, 1)
/// y[j] = d * (low(qs[j]) - 8), y[j + 16] = d * (high(qs[j]) - 8)
struct BlockQ4_0 {
  std::uint16_t d;
  std::uint8_t qs[16];
};
/// y = d * q + m, nibble order as Q4_0
struct BlockQ4_1 {
  std::uint16_t d, m;
  std::uint8_t qs[16];
};
/// q = nibble + 16 * bit (bit j of qh for y[j], j + 16 for y[j + 16]); y = d * (q - 16)
struct BlockQ5_0 {
  std::uint16_t d;
  std::uint8_t qh[4], qs[16];
};
/// y = d * q + m, q as Q5_0
struct BlockQ5_1 {
  std::uint16_t d, m;
  std::uint8_t qh[4], qs[16];
};
/// y = d * q
struct BlockQ8_0 {
  std::uint16_t d;
  std::int8_t qs[32];
};
/// 8 sub-blocks of 32 with 6-bit scale and minimum: y = d * sc * q - dmin * mn
struct BlockQ4_K {
  std::uint16_t d, dmin;
  std::uint8_t scales[12], qs[128];
};
/// As Q4_K with a fifth bit per value in qh
struct BlockQ5_K {
  std::uint16_t d, dmin;
  std::uint8_t scales[12], qh[32], qs[128];
};
/// 16 sub-blocks of 16 with int8 scale: y = d * sc * (q - 32)
struct BlockQ6_K {
  std::uint8_t ql[128], qh[64];
  std::int8_t scales[16];
  std::uint16_t d;
};
/// y = d * kNf4Values[q], q the nibble: each half of 32 values has its nibbles as Q4_0
struct BlockNF4 {
  std::uint16_t d;
  std::uint8_t qs[32];
};
/// y = kFp4Values[q] * 2^(e - 128), nibble order as Q4_0. Source: OCP Microscaling Formats 1.0; ggml for the order.
struct BlockMXFP4 {
  std::uint8_t e;
  std::uint8_t qs[16];
};
#pragma pack(pop)

/// NF4's 16 values, the quantiles of a normal distribution, in 1 / kNf4Scale of a block's largest: so rounded they
/// multiply as int8, at most 0.004 of the largest from the values that bitsandbytes uses.
/// Source: QLoRA, arXiv:2305.14314, appendix E.
inline constexpr std::int8_t kNf4Values[16] = {-112, -78, -59, -44, -32, -21, -10, 0, 9, 18, 28, 38, 49, 63, 81, 112};
inline constexpr float kNf4Scale = 112.0f;

/// FP4's (E2M1) 16 values, doubled, so that they multiply as int8; block scales are halved for it.
inline constexpr std::int8_t kFp4Values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/// 2^(e - 128), half of what the exponent byte of an MXFP4 block stands for. 255, which stands for no number, gives
/// infinity.
float fp4_scale(std::uint8_t e);

/// Scale and minimum of sub-block j (0..7) of a Q4_K or Q5_K block's 12 packed bytes.
struct SubScale {
  std::uint8_t scale, minimum;
};
SubScale sub_scale(const std::uint8_t* scales, int j);

/// Exact dequantisation of a row; `from` holds row_bytes(dtype, to.size()) bytes.
void dequantise(DType dtype, const std::byte* from, std::span<float> to);

}  // namespace commissure
