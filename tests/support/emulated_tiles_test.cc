#include "support/emulated_tiles.h"

#include <array>
#include <cstdint>
#include <random>

#include <gtest/gtest.h>

namespace commissure::cpu {
namespace {

/// Tile 0: sums [3, 5]; tile 1: int8 [3, 8]; tile 2: bytes [2, 5, 4]; tile 3 has four bytes a row more than tile 1.
TileConfig small_config() {
  TileConfig config = {};
  config.palette = 1;
  const std::array<std::array<int, 2>, 4> shapes = {{{3, 20}, {3, 8}, {2, 20}, {3, 12}}};
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    config.rows[i] = static_cast<std::uint8_t>(shapes[i][0]);
    config.row_bytes[i] = static_cast<std::uint16_t>(shapes[i][1]);
  }
  return config;
}

TEST(EmulatedTiles, MultiplySignedByUnsignedBytes) {
  std::mt19937 random(5);
  std::int8_t a[3][8];
  std::uint8_t b[2][5][4];
  for (auto& row : a) {
    for (std::int8_t& v : row) v = static_cast<std::int8_t>(random());
  }
  for (auto& row : b) {
    for (auto& dword : row) {
      for (std::uint8_t& v : dword) v = static_cast<std::uint8_t>(random());
    }
  }
  std::int32_t sums[3][6] = {};  // rows farther apart than a tile's row is long
  for (auto& row : sums) row[5] = -1;

  emulated_tiles::configure(small_config());
  emulated_tiles::load(1, a, sizeof a[0]);
  emulated_tiles::load(2, b, sizeof b[0]);
  emulated_tiles::zero(0);
  for (int twice = 0; twice < 2; ++twice) emulated_tiles::add_products(0, 1, 2);
  emulated_tiles::store(0, sums, sizeof sums[0]);
  emulated_tiles::release();

  for (int m = 0; m < 3; ++m) {
    for (int n = 0; n < 5; ++n) {
      int sum = 0;
      for (int k = 0; k < 8; ++k) sum += a[m][k] * b[k / 4][n][k % 4];
      EXPECT_EQ(sums[m][n], 2 * sum);
    }
    EXPECT_EQ(sums[m][5], -1);
  }
}

TEST(EmulatedTiles, RefuseAConfigurationThatFaults) {
  const auto with = [](auto change) {
    TileConfig config = small_config();
    change(config);
    emulated_tiles::configure(config);
  };
  EXPECT_DEATH(with([](TileConfig& c) { c.palette = 0; }), "palette");
  EXPECT_DEATH(with([](TileConfig& c) { c.reserved[13] = 1; }), "reserved");
  EXPECT_DEATH(with([](TileConfig& c) { c.rows[1] = 17; }), "up to 16 rows");
  EXPECT_DEATH(with([](TileConfig& c) { c.row_bytes[1] = 65; }), "64 bytes");
  EXPECT_DEATH(with([](TileConfig& c) { c.rows[1] = 0; }), "rows and bytes");
  EXPECT_DEATH(with([](TileConfig& c) { c.rows[8] = c.row_bytes[8] = 1; }), "");
  EXPECT_DEATH(for (int i = 0; i < 2; ++i) emulated_tiles::configure(small_config()), "not released");
}

TEST(EmulatedTiles, RefuseUsesThatFault) {
  std::byte memory[64] = {};
  EXPECT_DEATH(emulated_tiles::zero(0), "before they are configured");
  emulated_tiles::configure(small_config());
  EXPECT_DEATH(emulated_tiles::load(4, memory, 8), "lacks this tile");
  EXPECT_DEATH(emulated_tiles::add_products(0, 2, 1), "do not match");
  EXPECT_DEATH(emulated_tiles::add_products(0, 3, 2), "do not match");
  EXPECT_DEATH(emulated_tiles::add_products(0, 1, 1), "three different");
  emulated_tiles::release();
  EXPECT_DEATH(emulated_tiles::store(0, memory, 16), "before they are configured");
}

}  // namespace
}  // namespace commissure::cpu
