#pragma once

#include <cstdint>

namespace commissure::cpu {

/// The shapes of AMX's eight tiles, as LDTILECFG reads them.
struct alignas(64) TileConfig {
  std::uint8_t palette;
  std::uint8_t start_row;
  std::uint8_t reserved[14];
  std::uint16_t row_bytes[16];
  std::uint8_t rows[16];
};
static_assert(sizeof(TileConfig) == 64);

}  // namespace commissure::cpu
