#pragma once

#include "kernels/cpu/matmul_tile.h"

#if defined(__AVX512F__)

/// Weights packed for one linear read: 16 rows lie interleaved, so that memory order is compute order, nothing is
/// transposed and no vector is summed across. As many bits per weight as the file has (K formats: 0.06 to 0.12 more).
/// The products are those of matmul_tile.h in the same order, hence the same bits as from the weights as stored.
///
/// The layout "r16" (kPackedLayout), 16 rows after 16 rows; the last ones are filled up with repeats of the last row:
///   every 8 blocks of a K format:  f16 d[16]; f16 dmin[16] (not Q6_K)
///   every block of 32 columns:
///     scales   f16 d[16]; f16 m[16] with a minimum  |  Q4_K, Q5_K: u8 scale[16], minimum[16]  |  Q6_K: i8 scale[2][16]
///     quants, as dwords of one row's values 4j .. 4j + 3 for j = 0 .. 7:
///       Q4, Q5, Q6   u8 [4][16 rows][4]: dword j in the low nibbles, dword j + 4 in the high ones
///       Q5           u64 [8]: bit 4 r + i of word j is bit 4 of row r's value 4j + i
///       Q6           u8 [2][16 rows][4]: bits 4 and 5 of dword 4h + i at bit 2i of byte row h
///       Q8           u8 [8][16 rows][4], offset by 128
namespace commissure::cpu::COMMISSURE_ISA_NS {

/// One block of 16 rows in registers; the same face as TileBlock.
struct RowBlock {
  __m512i w[kBlock / 4];
  __m512 d, m;
  __m512i half_scales[2];

  RowInts quants(int j, int) const { return w[j]; }
  RowFloats scale(int) const { return d; }
  RowFloats minimum(int) const { return m; }
  RowInts half_scale(int half, int) const { return half_scales[half]; }
};

template <typename Format>
struct PackedSizes {
  static constexpr bool kIsK = Format::kBlocks == 8;
  static constexpr std::size_t kSuper = kIsK ? (Format::kHasMinimum ? 64 : 32) : 0;
  static constexpr std::size_t kScales = !kIsK && Format::kHasMinimum ? 64 : 32;
  static constexpr std::size_t kBlockBytes = kScales + 64 * Format::kBits;
  /// Bytes of 16 rows of n_blocks each.
  static constexpr std::size_t tile(int n_blocks) {
    return static_cast<std::size_t>(n_blocks) * kBlockBytes + static_cast<std::size_t>(n_blocks / 8) * kSuper;
  }
};

inline __m512i load64(const void* p) { return _mm512_loadu_si512(p); }
inline __m512 halves_at(const std::byte* p) { return _mm512_cvtph_ps(load32(p)); }
inline __m512 bytes_at(const std::byte* p) { return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(load16(p))); }

/// The blocks of 16 packed rows, read into registers.
template <typename Format>
class PackedRows {
 public:
  explicit PackedRows(const std::byte* rows) : rows_(rows) {}

  [[gnu::always_inline]] inline RowBlock operator[](int block) const {
    using Sizes = PackedSizes<Format>;
    RowBlock out;
    const std::byte* at = rows_ + static_cast<std::size_t>(block) * Sizes::kBlockBytes;
    if constexpr (Sizes::kIsK) {
      const std::byte* super = rows_ + static_cast<std::size_t>(block / 8) * (8 * Sizes::kBlockBytes + Sizes::kSuper);
      at += static_cast<std::size_t>(block / 8 + 1) * Sizes::kSuper;
      out.d = halves_at(super);
      if constexpr (Format::kHasMinimum) out.m = halves_at(super + 32);
    }
    read_scales(at, out);
    read_quants(at + Sizes::kScales, out.w);
    return out;
  }

  /// Asks for one block's bytes, `ahead` bytes behind those of `block`.
  [[gnu::always_inline]] inline void prefetch(int block, std::size_t ahead) const {
    const std::byte* at = rows_ + static_cast<std::size_t>(block) * PackedSizes<Format>::kBlockBytes + ahead;
    for (std::size_t i = 0; i < PackedSizes<Format>::kBlockBytes; i += 64) _mm_prefetch(at + i, _MM_HINT_T0);
  }

 private:
  static void read_scales(const std::byte* at, RowBlock& out) {
    if constexpr (Format::kHasHalfScale) {
      for (int h = 0; h < 2; ++h) out.half_scales[h] = _mm512_cvtepi8_epi32(load16(at + 16 * h));
    } else if constexpr (PackedSizes<Format>::kIsK) {
      out.d = _mm512_mul_ps(out.d, bytes_at(at));
      out.m = _mm512_xor_ps(_mm512_mul_ps(out.m, bytes_at(at + 16)), _mm512_set1_ps(-0.0f));
    } else {
      out.d = halves_at(at);
      if constexpr (Format::kHasMinimum) out.m = halves_at(at + 32);
    }
  }

  static void read_quants(const std::byte* at, __m512i* w) {
    if constexpr (Format::kBits == 8) {
      for (int j = 0; j < 8; ++j) w[j] = load64(at + 64 * j);
      return;
    }
    const __m512i low = _mm512_set1_epi8(15);
    for (int j = 0; j < 4; ++j) {
      const __m512i v = load64(at + 64 * j);
      w[j] = _mm512_and_si512(v, low);
      w[j + 4] = _mm512_and_si512(_mm512_srli_epi16(v, 4), low);
    }
    if constexpr (Format::kBits == 5) {
      for (int j = 0; j < 8; ++j) {
        std::uint64_t fifth;
        std::memcpy(&fifth, at + 256 + 8 * j, sizeof fifth);
        w[j] = _mm512_mask_add_epi8(w[j], fifth, w[j], _mm512_set1_epi8(16));
      }
    }
    if constexpr (Format::kBits == 6) {
      const __m512i high = _mm512_set1_epi8(0x30);
      for (int h = 0; h < 2; ++h) {
        const __m512i v = load64(at + 256 + 64 * h);
        __m512i* const to = w + 4 * h;
        to[0] = _mm512_or_si512(to[0], _mm512_and_si512(_mm512_slli_epi16(v, 4), high));
        to[1] = _mm512_or_si512(to[1], _mm512_and_si512(_mm512_slli_epi16(v, 2), high));
        to[2] = _mm512_or_si512(to[2], _mm512_and_si512(v, high));
        to[3] = _mm512_or_si512(to[3], _mm512_and_si512(_mm512_srli_epi16(v, 2), high));
      }
    }
  }

  const std::byte* rows_;
};

// --- products ---

/// Up to this many packed columns have room for all four chains in registers and read the rows in one pass.
constexpr int kRegisterColumns = 4;
/// Up to this many packed columns unpack the rows anew for every group; for more of them a tile in cache pays.
constexpr int kDirectColumns = 4 * kTileWidth;
/// Far enough that the next lines arrive in time, near enough that L1 keeps them.
constexpr std::size_t kPackedPrefetch = 4096;

template <typename Format, int kColumns>
void packed_columns(const MatmulPart& part, const std::byte* rows, int n_rows, float* out) {
  const int n_blocks = part.n_cols / kBlock;
  const PackedRows<Format> blocks(rows);
  RowFloats acc[kChains][kColumns];
#pragma GCC unroll 4
  for (int chain = 0; chain < kChains; ++chain) {
#pragma GCC unroll 4
    for (int c = 0; c < kColumns; ++c) acc[chain][c] = broadcast(0.0f);
  }
  const std::byte* x = part.packed;
  for (int b = 0; b < n_blocks; b += kChains) {
#pragma GCC unroll 4
    for (int chain = 0; chain < kChains; ++chain) {
      if (b + chain == n_blocks) break;
      blocks.prefetch(b + chain, kPackedPrefetch);
      add_columns<Format, kColumns>(blocks[b + chain], 0, x, acc[chain]);
      x += kTileBytesPerBlock * kColumns;
    }
  }
  RowFloats y[kColumns];
#pragma GCC unroll 4
  for (int c = 0; c < kColumns; ++c) y[c] = add(add(acc[0][c], acc[1][c]), add(acc[2][c], acc[3][c]));
  put_columns<kColumns>(part, y, n_rows, out);
}

/// 16 rows into a tile, for all columns to meet.
template <typename Format>
void spread(const std::byte* rows, int n_blocks, TileBlock* tile) {
  const PackedRows<Format> blocks(rows);
  for (int b = 0; b < n_blocks; ++b, ++tile) {
    blocks.prefetch(b, kPackedPrefetch);
    const RowBlock block = blocks[b];
    for (int j = 0; j < kBlock / 4; ++j) _mm512_store_si512(tile->w[j], block.w[j]);
    _mm512_store_ps(tile->d, block.d);
    if constexpr (Format::kHasMinimum) _mm512_store_ps(tile->m, block.m);
    if constexpr (Format::kHasHalfScale) {
      for (int h = 0; h < 2; ++h) _mm512_store_si512(tile->half_scales[h], block.half_scales[h]);
    }
  }
}

/// The blocks of 16 rows as chain_sums() asks for them, every fourth in four passes. Each visit asks for one block of
/// the next 16 rows, in memory order, so that they arrive while these are at work.
template <typename Format>
class PassedRows {
 public:
  PassedRows(const std::byte* rows, int n_blocks) : rows_(rows), n_blocks_(n_blocks) {}

  [[gnu::always_inline]] inline RowBlock operator[](int block) const {
    rows_.prefetch(block / kChains + block % kChains * ((n_blocks_ + 3) / kChains),
                   PackedSizes<Format>::tile(n_blocks_));
    return rows_[block];
  }

 private:
  PackedRows<Format> rows_;
  int n_blocks_;
};

template <typename Format>
void packed(const MatmulPart& part) {
  const int n_blocks = part.n_cols / kBlock;
  const std::byte* rows = part.packed_weights;
  for (std::int64_t r = 0; r < part.n_rows; r += kTileRows, rows += PackedSizes<Format>::tile(n_blocks)) {
    const int n_rows = part.n_rows - r < kTileRows ? static_cast<int>(part.n_rows - r) : kTileRows;
    float* out = part.out + r;
    switch (part.n_columns) {
      case 1: packed_columns<Format, 1>(part, rows, n_rows, out); break;
      case 2: packed_columns<Format, 2>(part, rows, n_rows, out); break;
      case 3: packed_columns<Format, 3>(part, rows, n_rows, out); break;
      case kRegisterColumns: packed_columns<Format, kRegisterColumns>(part, rows, n_rows, out); break;
      default: {
        if (part.n_columns <= kDirectColumns) {
          all_columns<Format>(part, PassedRows<Format>(rows, n_blocks), n_rows, out);
          break;
        }
        auto* tile = reinterpret_cast<TileBlock*>(part.tile);
        spread<Format>(rows, n_blocks, tile);
        all_columns<Format>(part, tile, n_rows, out);
      }
    }
  }
}

// --- packing ---

/// Values of 16 rows, each put by f(row's block).
template <typename Format, typename Value, typename F>
std::byte* put_rows(const MatmulPart& part, const std::byte* first_row, int n_rows, int block, std::byte* to, F f) {
  for (int r = 0; r < kTileRows; ++r) {
    const std::byte* row = first_row + static_cast<std::size_t>(r < n_rows ? r : n_rows - 1) * part.row_bytes;
    typename Format::Block b;
    std::memcpy(&b, row + static_cast<std::size_t>(block / Format::kBlocks) * sizeof b, sizeof b);
    const Value value = f(b);
    std::memcpy(to + static_cast<std::size_t>(r) * sizeof value, &value, sizeof value);
  }
  return to + kTileRows * sizeof(Value);
}

/// Scales of block b of 16 rows; returns where its quants go.
template <typename Format>
std::byte* put_scales(const MatmulPart& part, const std::byte* rows, int n_rows, int b, std::byte* to) {
  using Block = typename Format::Block;
  using Half = std::uint16_t;
  const int sub = b % Format::kBlocks;
  if (sub == 0) {  // a block of a simple format, or the first of a K format's eight
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

template <typename Format>
std::byte* put_quants(const TileBlock& tile, std::byte* to) {
  if constexpr (Format::kBits == 8) {
    std::memcpy(to, tile.w, sizeof tile.w);
    return to + sizeof tile.w;
  }
  const __m512i low = _mm512_set1_epi8(15);
  for (int j = 0; j < 4; ++j) {
    const __m512i first = _mm512_and_si512(load_rows(tile.w[j]), low);
    const __m512i second = _mm512_and_si512(load_rows(tile.w[j + 4]), low);
    _mm512_storeu_si512(to + 64 * j, _mm512_or_si512(first, _mm512_slli_epi16(second, 4)));
  }
  to += 256;
  if constexpr (Format::kBits == 5) {
    for (int j = 0; j < 8; ++j, to += 8) {
      const std::uint64_t fifth = _mm512_test_epi8_mask(load_rows(tile.w[j]), _mm512_set1_epi8(16));
      std::memcpy(to, &fifth, sizeof fifth);
    }
  }
  if constexpr (Format::kBits == 6) {
    for (int h = 0; h < 2; ++h, to += 64) {
      __m512i bits = _mm512_setzero_si512();
      for (int i = 0; i < 4; ++i) {
        const __m512i high = _mm512_and_si512(_mm512_srli_epi16(load_rows(tile.w[4 * h + i]), 4), _mm512_set1_epi8(3));
        bits = _mm512_or_si512(bits, _mm512_sll_epi16(high, _mm_cvtsi32_si128(2 * i)));
      }
      _mm512_storeu_si512(to, bits);
    }
  }
  return to;
}

template <typename Format>
void pack_rows(const MatmulPart& part, std::byte* out) {
  const int n_blocks = part.n_cols / kBlock;
  for (std::int64_t r = 0; r < part.n_rows; r += kTileRows) {
    const int n_rows = part.n_rows - r < kTileRows ? static_cast<int>(part.n_rows - r) : kTileRows;
    const std::byte* rows = part.weights + static_cast<std::size_t>(r) * part.row_bytes;
    TileBlock tile[kChains];
    for (int b = 0; b < n_blocks; ++b) {
      if (b % kChains == 0) unpack_group<Format>(part, rows, n_rows, b / kChains, tile);
      out = put_scales<Format>(part, rows, n_rows, b, out);
      out = put_quants<Format>(tile[b % kChains], out);
    }
  }
}

}  // namespace commissure::cpu::COMMISSURE_ISA_NS

#endif
