#include "kernels/quant.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

namespace commissure {
namespace {

/// One block whose byte i is 37 i + 11, but for its f16 scale 0.5 and, where there is one, minimum -0.25.
std::vector<std::byte> known_block(DType dtype) {
  std::vector<std::byte> bytes(block_size(dtype).n_bytes);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(37 * i + 11);
  const std::uint16_t scale = float_to_half(0.5f), minimum = float_to_half(-0.25f);
  const bool has_minimum =
      dtype == DType::kQ4_1 || dtype == DType::kQ5_1 || dtype == DType::kQ4_K || dtype == DType::kQ5_K;
  if (dtype == DType::kMXFP4) {
    bytes[0] = std::byte{129};
    return bytes;
  }
  const std::size_t at = dtype == DType::kQ6_K ? 208 : 0;
  std::memcpy(&bytes[at], &scale, 2);
  if (has_minimum) std::memcpy(&bytes[2], &minimum, 2);
  return bytes;
}

struct KnownValue {
  std::size_t index;
  float value;
};
struct KnownBlock {
  DType dtype;
  std::vector<KnownValue> values;
};

// The values are those of the gguf Python package 0.19 for the same bytes.
TEST(Quant, DequantisesKnownBlocks) {
  const std::vector<KnownBlock> blocks = {
      {DType::kQ8_0, {{0, 42.5f}, {1, 61.0f}, {15, -64.0f}, {16, -45.5f}, {31, -24.0f}}},
      {DType::kQ4_0, {{0, -1.5f}, {1, 1.0f}, {15, -4.0f}, {16, -1.5f}, {31, 0.0f}}},
      {DType::kQ4_1, {{0, 7.25f}, {1, 1.75f}, {15, 4.75f}, {16, 4.25f}, {31, 5.75f}}},
      {DType::kQ5_0, {{0, 4.5f}, {1, -1.0f}, {15, -6.0f}, {16, 7.0f}, {31, 0.5f}}},
      {DType::kQ5_1, {{0, 9.25f}, {1, 11.75f}, {15, 14.75f}, {16, 9.25f}, {31, 2.25f}}},
      {DType::kQ4_K, {{0, 183.25f}, {31, 105.75f}, {33, 22.0f}, {100, 64.5f}, {129, 3.0f}, {255, 41.75f}}},
      {DType::kQ5_K, {{0, 431.25f}, {31, 105.75f}, {33, 10.0f}, {100, 134.5f}, {129, 3.0f}, {255, 71.75f}}},
      {DType::kQ6_K, {{0, -715.5f}, {31, -48.0f}, {33, -336.0f}, {100, 1261.5f}, {129, 208.0f}, {255, -30.0f}}},
      // By hand: the format is our own.
      {DType::kNF4, {{0, -10.5f}, {15, -56.0f}, {16, -10.5f}, {32, -10.5f}, {63, 31.5f}}},
      // By hand, from the formula: 2^(e - 128) times twice E2M1, with e = 129.
      {DType::kMXFP4,
       {{0, 0.0f}, {1, 12.0f}, {2, -4.0f}, {3, -24.0f}, {15, -6.0f}, {16, 6.0f}, {18, 24.0f}, {31, 12.0f}}},
  };
  for (const KnownBlock& block : blocks) {
    std::vector<float> y(block_size(block.dtype).n_elements);
    dequantise(block.dtype, known_block(block.dtype).data(), y);
    for (const auto& [index, value] : block.values) EXPECT_EQ(y[index], value) << dtype_name(block.dtype) << index;
  }
}

TEST(Quant, ExponentsOfMxfp4KeepTheirValuesToBothEnds) {
  EXPECT_EQ(fp4_scale(0), 0x1p-128f);  // these two are no normal numbers
  EXPECT_EQ(fp4_scale(1), 0x1p-127f);
  EXPECT_EQ(fp4_scale(2), 0x1p-126f);
  EXPECT_EQ(fp4_scale(128), 1.0f);
  EXPECT_EQ(fp4_scale(254), 0x1p126f);
  EXPECT_EQ(fp4_scale(255), std::numeric_limits<float>::infinity());
  for (int e = 0; e < 255; ++e) EXPECT_EQ(fp4_scale(static_cast<std::uint8_t>(e)), std::ldexp(1.0f, e - 128)) << e;
}

TEST(Quant, DequantisesEveryBlockOfARow) {
  std::vector<std::byte> row;
  for (int i = 0; i < 3; ++i) {
    const std::vector<std::byte> block = known_block(DType::kQ5_0);
    row.insert(row.end(), block.begin(), block.end());
  }
  std::vector<float> y(96);
  dequantise(DType::kQ5_0, row.data(), y);
  for (std::size_t i = 0; i < 32; ++i) {
    EXPECT_EQ(y[i], y[i + 32]);
    EXPECT_EQ(y[i], y[i + 64]);
  }
}

TEST(Quant, ReadsFloatsAsTheyAre) {
  const float f32[] = {1.5f, -0.0f};
  const std::uint16_t f16[] = {0x3e00, 0x8001}, bf16[] = {0x3fc0, 0xff80};
  float y[2];
  dequantise(DType::kF32, reinterpret_cast<const std::byte*>(f32), y);
  EXPECT_EQ(y[0], 1.5f);
  EXPECT_TRUE(std::signbit(y[1]));
  dequantise(DType::kF16, reinterpret_cast<const std::byte*>(f16), y);
  EXPECT_EQ(y[0], 1.5f);
  EXPECT_EQ(y[1], -0x1p-24f);
  dequantise(DType::kBF16, reinterpret_cast<const std::byte*>(bf16), y);
  EXPECT_EQ(y[0], 1.5f);
  EXPECT_EQ(y[1], -std::numeric_limits<float>::infinity());
}

TEST(Quant, UnpacksSixBitSubScales) {
  // Sub-block 0 has scale 63 and minimum 1; sub-block 5 has scale 0x2f and minimum 0x1a.
  std::uint8_t scales[12] = {};
  scales[0] = 63;
  scales[4] = 1;
  scales[9] = 0xaf;       // low nibbles: minimum 0xa, scale 0xf
  scales[1] |= 0x2 << 6;  // scale bits 4, 5
  scales[5] |= 0x1 << 6;  // minimum bits 4, 5
  EXPECT_EQ(sub_scale(scales, 0).scale, 63);
  EXPECT_EQ(sub_scale(scales, 0).minimum, 1);
  EXPECT_EQ(sub_scale(scales, 5).scale, 0x2f);
  EXPECT_EQ(sub_scale(scales, 5).minimum, 0x1a);
}

}  // namespace
}  // namespace commissure
