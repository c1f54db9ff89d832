#include "support/emulated_tiles.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "core/check.h"

namespace commissure::cpu::emulated_tiles {
namespace {

constexpr int kTiles = 8, kMaxRows = 16, kMaxRowBytes = 64;

struct Tile {
  int rows = 0;
  int row_bytes = 0;
  std::uint8_t bytes[kMaxRows][kMaxRowBytes] = {};
};

struct TileUnit {
  bool is_configured = false;
  Tile tiles[kTiles];
};

thread_local TileUnit unit;

/// An index outside the configuration is #UD.
Tile& configured(int i) {
  CHECK(unit.is_configured && "tiles are used before they are configured");
  CHECK(i >= 0 && i < kTiles && unit.tiles[i].rows > 0 && "the configuration lacks this tile");
  return unit.tiles[i];
}

bool is_zero(const std::uint8_t* bytes, std::size_t n) {
  return std::all_of(bytes, bytes + n, [](std::uint8_t b) { return b == 0; });
}

}  // namespace

void configure(const TileConfig& config) {
  CHECK(!unit.is_configured && "tiles were not released");
  CHECK(config.palette == 1 && "palette 1 is the only one with tiles");
  CHECK(config.start_row == 0 && "the kernels never resume a tile");
  CHECK(is_zero(config.reserved, sizeof config.reserved) && "reserved bytes");
  unit = {.is_configured = true, .tiles = {}};
  for (int i = 0; i < 16; ++i) {
    const int rows = config.rows[i], row_bytes = config.row_bytes[i];
    CHECK(i < kTiles || (rows == 0 && row_bytes == 0));
    CHECK(rows <= kMaxRows && row_bytes <= kMaxRowBytes && "a tile has up to 16 rows of 64 bytes");
    CHECK((rows == 0) == (row_bytes == 0) && "rows and bytes, or neither");
    if (i < kTiles) unit.tiles[i] = {.rows = rows, .row_bytes = row_bytes, .bytes = {}};
  }
}

void release() { unit = {}; }

void zero(int tile) { std::memset(configured(tile).bytes, 0, sizeof(Tile::bytes)); }

void load(int tile, const void* from, std::ptrdiff_t stride) {
  Tile& t = configured(tile);
  std::memset(t.bytes, 0, sizeof t.bytes);
  for (int r = 0; r < t.rows; ++r) {
    std::memcpy(t.bytes[r], static_cast<const std::byte*>(from) + r * stride, static_cast<std::size_t>(t.row_bytes));
  }
}

void store(int tile, void* to, std::ptrdiff_t stride) {
  const Tile& t = configured(tile);
  for (int r = 0; r < t.rows; ++r) {
    std::memcpy(static_cast<std::byte*>(to) + r * stride, t.bytes[r], static_cast<std::size_t>(t.row_bytes));
  }
}

void add_products(int sums, int a, int b) {
  CHECK(sums != a && a != b && sums != b && "three different tiles");
  Tile& to = configured(sums);
  const Tile &x = configured(a), &w = configured(b);
  CHECK(to.row_bytes % 4 == 0 && x.row_bytes % 4 == 0 && w.row_bytes % 4 == 0 && "whole dwords");
  CHECK(to.rows == x.rows && to.row_bytes == w.row_bytes && x.row_bytes / 4 == w.rows && "shapes that do not match");
  for (int m = 0; m < to.rows; ++m) {
    std::int32_t row[kMaxRowBytes / 4];
    std::memcpy(row, to.bytes[m], sizeof row);
    for (int k = 0; k < w.rows; ++k) {
      for (int n = 0; n < to.row_bytes / 4; ++n) {
        for (int i = 0; i < 4; ++i) row[n] += static_cast<std::int8_t>(x.bytes[m][4 * k + i]) * w.bytes[k][4 * n + i];
      }
    }
    std::memcpy(to.bytes[m], row, sizeof row);
  }
}

}  // namespace commissure::cpu::emulated_tiles
