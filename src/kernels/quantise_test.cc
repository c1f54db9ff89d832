#include "kernels/quantise.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/quant.h"

namespace commissure {
namespace {

std::vector<float> random_values(int n, float deviation) {
  std::mt19937 random(5);
  std::normal_distribution<float> value(0.0f, deviation);
  std::vector<float> values(n);
  for (float& each : values) each = value(random);
  return values;
}

std::vector<std::byte> quantised(DType dtype, const std::vector<float>& values) {
  std::vector<std::byte> bytes(row_bytes(dtype, static_cast<std::int64_t>(values.size())));
  EXPECT_TRUE(quantise(dtype, values, bytes.data()));
  return bytes;
}

std::vector<float> there_and_back(DType dtype, const std::vector<float>& values) {
  std::vector<float> back(values.size());
  dequantise(dtype, quantised(dtype, values).data(), back);
  return back;
}

TEST(Quantise, RoundsToTheNearestThatTheFormatHas) {
  const std::vector<float> values = random_values(64 * 40, 0.03f);
  for (const DType dtype : {DType::kQ8_0, DType::kNF4}) {
    const std::vector<float> back = there_and_back(dtype, values);
    const int block = block_size(dtype).n_elements;
    for (std::size_t i = 0; i < values.size(); ++i) {
      float largest = 0.0f;
      for (int j = 0; j < block; ++j) largest = std::max(largest, std::fabs(values[i / block * block + j]));
      // Half a step; the widest of NF4 is that to its lowest value. The scale itself is rounded by 2^-11.
      const float step = dtype == DType::kQ8_0 ? largest / 127.0f : largest * (112 - 78) / kNf4Scale;
      ASSERT_LE(std::fabs(back[i] - values[i]), 0.5f * step + largest * 0x1p-11f) << dtype_name(dtype) << " " << i;
    }
  }
}

TEST(Quantise, EveryNf4CodeIsTakenByItsOwnValue) {
  std::vector<float> values(64);
  for (int i = 0; i < 64; ++i) values[i] = static_cast<float>(kNf4Values[i % 16]);
  EXPECT_EQ(there_and_back(DType::kNF4, values), values);
}

// Bytes that ggml's own quantize_row_q8_0_ref gives for 32 values i * i - 300.
TEST(Quantise, GivesTheBytesOfGgml) {
  std::vector<float> values(32);
  for (int i = 0; i < 32; ++i) values[i] = static_cast<float>(i * i - 300);
  const std::vector<std::byte> bytes = quantised(DType::kQ8_0, values);
  BlockQ8_0 block;
  std::memcpy(&block, bytes.data(), sizeof block);
  EXPECT_EQ(block.d, float_to_half(661.0f / 127.0f));
  const std::vector<int> expected = {-58, -57, -57, -56, -55, -53, -51, -48, -45, -42, -38, -34, -30, -25, -20, -14,
                                     -8,  -2,  5,   12,  19,  27,  35,  44,  53,  62,  72,  82,  93,  104, 115, 127};
  EXPECT_EQ(std::vector<int>(std::begin(block.qs), std::end(block.qs)), expected);
}

TEST(Quantise, HalvesGoAwayFromZero) {
  std::vector<float> values(32, 0.0f);
  values[0] = 127.0f;
  values[1] = 2.5f;
  values[2] = -2.5f;
  values[3] = std::nextafter(0.5f, 0.0f);
  const std::vector<float> back = there_and_back(DType::kQ8_0, values);
  EXPECT_EQ(back[1], 3.0f);
  EXPECT_EQ(back[2], -3.0f);
  EXPECT_EQ(back[3], 0.0f);
}

TEST(Quantise, WhatIsTooSmallForAScaleIsZero) {
  for (const DType dtype : {DType::kQ8_0, DType::kNF4}) {
    for (const float tiny : {0.0f, 1e-12f, std::numeric_limits<float>::denorm_min()}) {
      EXPECT_EQ(there_and_back(dtype, std::vector<float>(64, tiny)), std::vector<float>(64, 0.0f));
    }
  }
}

TEST(Quantise, RefusesWhatNoBlockCanHold) {
  for (const DType dtype : {DType::kQ8_0, DType::kNF4}) {
    for (const float bad : {NAN, INFINITY, -INFINITY, 1e30f}) {
      std::vector<float> values(128, 1.0f);
      values[77] = bad;
      std::vector<std::byte> bytes(row_bytes(dtype, 128));
      EXPECT_FALSE(quantise(dtype, values, bytes.data())) << dtype_name(dtype) << " " << bad;
    }
  }
}

}  // namespace
}  // namespace commissure
