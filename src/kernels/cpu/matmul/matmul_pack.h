#pragma once

#include <type_traits>

#include "kernels/cpu/matmul/matmul_packed.h"

/// Writing the layout that matmul_packed.h reads.
namespace commissure::cpu::COMMISSURE_ISA_NS {

/// Values of 16 rows, each put by f(row's block).
template <typename Format, typename Value, typename F>
std::byte* put_rows(const MatmulPart& part, const std::byte* first_row, int n_rows, int block, std::byte* to, F f) {
  for (int r = 0; r < kTileRows; ++r) {
    const std::byte* row = first_row + (r < n_rows ? r : n_rows - 1) * part.row_bytes;
    typename Format::Block b;
    std::memcpy(&b, row + block / Format::kBlocks * sizeof b, sizeof b);
    const Value value = f(b);
    std::memcpy(to + r * sizeof value, &value, sizeof value);
  }
  return to + kTileRows * sizeof(Value);
}

/// Scales of block b of 16 rows; returns where its quants go.
template <typename Format>
std::byte* put_scales(const MatmulPart& part, const std::byte* rows, int n_rows, int b, std::byte* to) {
  using Block = typename Format::Block;
  using Half = std::uint16_t;
  const int sub = b % Format::kBlocks;
  if constexpr (Format::kHasExponent) {
    return put_rows<Format, std::uint8_t>(part, rows, n_rows, b, to, [](const Block& block) { return block.e; });
  } else if (sub == 0 ||
             !PackedSizes<Format>::kIsK) {  // a block of a simple format, or the first of a K format's eight
    to = put_rows<Format, Half>(part, rows, n_rows, b, to, [](const Block& block) { return block.d; });
    if constexpr (requires(Block block) { block.m; }) {
      to = put_rows<Format, Half>(part, rows, n_rows, b, to, [](const Block& block) { return block.m; });
    }
    if constexpr (requires(Block block) { block.dmin; }) {
      to = put_rows<Format, Half>(part, rows, n_rows, b, to, [](const Block& block) { return block.dmin; });
    }
  }
  if constexpr (Format::kHasHalfScale) {
    for (int h = 0; h < 2; ++h) {
      to = put_rows<Format, std::int8_t>(part, rows, n_rows, b, to,
                                         [=](const Block& block) { return block.scales[2 * sub + h]; });
    }
  } else if constexpr (PackedSizes<Format>::kIsK) {
    to = put_rows<Format, std::uint8_t>(part, rows, n_rows, b, to,
                                        [=](const Block& block) { return sub_scale(block.scales, sub).scale; });
    to = put_rows<Format, std::uint8_t>(part, rows, n_rows, b, to,
                                        [=](const Block& block) { return sub_scale(block.scales, sub).minimum; });
  }
  return to;
}

/// Bit 4 of 64 bytes.
inline std::uint64_t fifth_bits(const std::uint8_t* bytes) {
  const auto bits_of = [](const std::uint8_t* p) {
    return static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_slli_epi16(load32(p), 3)));
  };
  return bits_of(bytes) | std::uint64_t{bits_of(bytes + 32)} << 32;
}

template <typename Format>
std::byte* put_quants(const TileBlock& tile, std::byte* to) {
  const auto bytes = [&](int j) { return &tile.w[j][0][0]; };
  constexpr int kLine = sizeof tile.w[0];
  if constexpr (PackedSizes<Format>::kBits == 8) {
    for (int i = 0; i < 8 * kLine; ++i) to[i] = static_cast<std::byte>(bytes(0)[i] ^ (Format::kSigned ? 0x80 : 0));
    return to + sizeof tile.w;
  }
  for (int j = 0; j < 4; ++j, to += kLine) {
    for (int i = 0; i < kLine; ++i) to[i] = static_cast<std::byte>((bytes(j)[i] & 15) | (bytes(j + 4)[i] & 15) << 4);
  }
  if constexpr (Format::kBits == 5) {
    for (int j = 0; j < 8; ++j, to += 8) {
      const std::uint64_t fifth = fifth_bits(bytes(j));
      std::memcpy(to, &fifth, sizeof fifth);
    }
  }
  if constexpr (Format::kBits == 6) {
    for (int j = 0; j < 8; j += 4, to += kLine) {
      for (int i = 0; i < kLine; ++i) {
        to[i] = static_cast<std::byte>(bytes(j)[i] >> 4 | bytes(j + 1)[i] >> 4 << 2 | bytes(j + 2)[i] >> 4 << 4 |
                                       bytes(j + 3)[i] >> 4 << 6);
      }
    }
  }
  return to;
}

/// What unpacks the bits that are to be packed.
template <typename Format, bool kHasCodes = Format::kHasCodes>
struct StoredBitsOf {
  using type = Format;
};
template <typename Format>
struct StoredBitsOf<Format, true> {
  using type = typename Format::Codes;
};
template <typename Format>
using StoredBits = typename StoredBitsOf<Format>::type;

template <typename Format>
void pack_rows(const MatmulPart& part, std::byte* out) {
  const int n_blocks = part.n_cols / kBlock;
  for (std::int64_t r = 0; r < part.n_rows; r += kTileRows) {
    const int n_rows = part.n_rows - r < kTileRows ? static_cast<int>(part.n_rows - r) : kTileRows;
    const std::byte* rows = part.weights + r * part.row_bytes;
    TileBlock tile[kChains];
    for (int b = 0; b < n_blocks; ++b) {
      if (b % kChains == 0) unpack_group<StoredBits<Format>>(part, rows, n_rows, b / kChains, tile);
      out = put_scales<Format>(part, rows, n_rows, b, out);
      out = put_quants<Format>(tile[b % kChains], out);
    }
  }
}

}  // namespace commissure::cpu::COMMISSURE_ISA_NS
