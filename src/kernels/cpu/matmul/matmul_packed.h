#pragma once

#include "kernels/cpu/matmul/matmul_tile.h"

/// Weights packed for one linear read: 16 rows lie interleaved, so that memory order is compute order, nothing is
/// transposed and no vector is summed across. As many bits per weight as the file has (K formats: 0.06 to 0.12 more).
/// The products are those of matmul_tile.h in the same order, hence the same bits as from the weights as stored.
///
/// The layout "r16" (kPackedLayout), 16 rows after 16 rows; the last ones are filled up with repeats of the last row:
///   every 8 blocks of a K format:  f16 d[16]; f16 dmin[16] (not Q6_K)
///   every block of 32 columns:
///     scales   f16 d[16]; f16 m[16] with a minimum  |  Q4_K, Q5_K: u8 scale[16], minimum[16]  |  Q6_K: i8 scale[2][16]
///              |  MXFP4: u8 e[16]
///     quants, as dwords of one row's values 4j .. 4j + 3 for j = 0 .. 7:
///       Q4, Q5, Q6   u8 [4][16 rows][4]: dword j in the low nibbles, dword j + 4 in the high ones
///       Q5           u64 [8]: bit 4 r + i of word j is bit 4 of row r's value 4j + i
///       Q6           u8 [2][16 rows][4]: bits 4 and 5 of dword 4h + i at bit 2i of byte row h
///       Q8           u8 [8][16 rows][4], offset by 128
///       NF4, MXFP4   the codes, as Q4; both halves of NF4's blocks of 64 have its scale
namespace commissure::cpu::COMMISSURE_ISA_NS {

template <typename Format>
struct PackedSizes {
  static constexpr bool kIsK = Format::kBlocks == 8;
  static constexpr std::size_t kSuper = kIsK ? (Format::kHasMinimum ? 64 : 32) : 0;
  static constexpr std::size_t kScales = Format::kHasExponent                                       ? 16
                                         : !kIsK && Format::kHasMinimum && !Format::kMinimumIsScale ? 64
                                                                                                    : 32;
  static constexpr int kBits = Format::kHasCodes ? 4 : Format::kBits;
  static constexpr std::size_t kBlockBytes = kScales + 64 * kBits;
  /// Bytes of 16 rows of n_blocks each.
  static constexpr std::size_t tile(int n_blocks) { return n_blocks * kBlockBytes + n_blocks / 8 * kSuper; }
};

/// One block of 16 packed rows, with the same face as TileBlock: what is asked for is unpacked then, since the
/// registers would not hold it all.
template <typename Format>
class PackedBlock {
 public:
  using Sizes = PackedSizes<Format>;

  PackedBlock(const std::byte* super, const std::byte* block) : super_(super), block_(block) {}

  [[gnu::always_inline]] inline RowFloats scale(int row) const {
    if constexpr (Format::kHasExponent) return exponents_of_rows(block_ + row);
    if constexpr (!Sizes::kIsK) return halves_of_rows(block_ + 2 * row);
    if constexpr (Format::kHasHalfScale) return halves_of_rows(super_ + 2 * row);
    return multiply(halves_of_rows(super_ + 2 * row), bytes_of_rows(block_ + row));
  }
  [[gnu::always_inline]] inline RowFloats minimum(int row) const {
    if constexpr (Format::kMinimumIsScale) return scale(row);
    if constexpr (!Sizes::kIsK) return halves_of_rows(block_ + 32 + 2 * row);
    return negate(multiply(halves_of_rows(super_ + 32 + 2 * row), bytes_of_rows(block_ + 16 + row)));
  }
  [[gnu::always_inline]] inline RowInts half_scale(int half, int row) const {
    return signed_bytes_of_rows(block_ + 16 * half + row);
  }

  [[gnu::always_inline]] inline RowInts quants(int j, int row) const {
    const std::byte* quants = block_ + Sizes::kScales;
    if constexpr (Sizes::kBits == 8) {
      const RowInts v = load_rows(quants + 64 * j + 4 * row);
      return Format::kSigned ? bit_xor(v, broadcast_byte(-128)) : v;
    }
    const RowInts v = load_rows(quants + 64 * (j % 4) + 4 * row);
    const RowInts low = bit_and(j < 4 ? v : words_right<4>(v), broadcast_byte(15));
    if constexpr (Format::kHasCodes) return look_up(Format::values(), low);
    if constexpr (Format::kBits == 5) return add_fifth_bits_of_rows(low, quants + 256 + 8 * j + row / 2);
    if constexpr (Format::kBits == 6) return bit_or(low, high_bits(j, quants + 256 + 4 * row));
    return low;
  }

 private:
  /// Bits 4 and 5 of a dword of every row.
  [[gnu::always_inline]] static inline RowInts high_bits(int j, const std::byte* at) {
    const RowInts v = load_rows(at + 64 * (j / 4)), high = broadcast_byte(0x30);
    switch (j % 4) {
      case 0: return bit_and(words_left<4>(v), high);
      case 1: return bit_and(words_left<2>(v), high);
      case 2: return bit_and(v, high);
      default: return bit_and(words_right<2>(v), high);
    }
  }

  const std::byte* super_;  ///< scales of its eight blocks (K formats)
  const std::byte* block_;
};

/// The blocks of 16 packed rows.
template <typename Format>
class PackedRows {
 public:
  explicit PackedRows(const std::byte* rows) : rows_(rows) {}

  [[gnu::always_inline]] inline PackedBlock<Format> at(int block) const {
    using Sizes = PackedSizes<Format>;
    const std::byte* super = rows_ + block / 8 * (8 * Sizes::kBlockBytes + Sizes::kSuper);
    const int n_supers = Sizes::kIsK ? block / 8 + 1 : 0;
    return {super, rows_ + block * Sizes::kBlockBytes + n_supers * Sizes::kSuper};
  }

  /// Asks for one block's bytes, `ahead` bytes behind those of `block`.
  [[gnu::always_inline]] inline void prefetch(int block, std::size_t ahead) const {
    const std::byte* at = rows_ + block * PackedSizes<Format>::kBlockBytes + ahead;
    for (std::size_t i = 0; i < PackedSizes<Format>::kBlockBytes; i += 64) _mm_prefetch(at + i, _MM_HINT_T0);
  }

 private:
  const std::byte* rows_;
};

// --- products ---

#if defined(__AVX512F__)
/// Up to this many packed columns have room for all four chains in registers and read the rows in one pass.
constexpr int kRegisterColumns = 4;
#else
constexpr int kRegisterColumns = 1;
#endif

/// Up to this many packed columns unpack the rows anew for every group; for more of them a tile in cache pays, without
/// AVX-512 at once where fifth bits have to be spread.
template <typename Format>
constexpr int direct_columns() {
  if (kVectorRows == kTileRows) return 4 * kTileWidth;
  return Format::kBits == 5 ? kRegisterColumns : 2 * kTileWidth;
}

/// Far enough that the next lines arrive in time, near enough that L1 keeps them.
constexpr std::size_t kPackedPrefetch = 4096;

template <typename Format, int kColumns>
void packed_columns(const MatmulPart& part, const std::byte* rows, int n_rows, float* out) {
  constexpr int kVectors = kTileRows / kVectorRows;
  const int n_blocks = part.n_cols / kBlock;
  const PackedRows<Format> blocks(rows);
  RowFloats acc[kVectors][kChains][kColumns];
#pragma GCC unroll 8
  for (int i = 0; i < kVectors * kChains; ++i) {
#pragma GCC unroll 4
    for (int c = 0; c < kColumns; ++c) acc[i / kChains][i % kChains][c] = broadcast(0.0f);
  }
  const std::byte* x = part.packed;
  for (int b = 0; b < n_blocks; b += kChains) {
#pragma GCC unroll 4
    for (int chain = 0; chain < kChains; ++chain) {
      if (b + chain == n_blocks) break;
      blocks.prefetch(b + chain, kPackedPrefetch);
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        add_columns<Format, kColumns>(blocks.at(b + chain), v * kVectorRows, x, acc[v][chain]);
      }
      x += kTileBytesPerBlock * kColumns;
    }
  }
#pragma GCC unroll 2
  for (int v = 0; v < kVectors; ++v) {
    if (v * kVectorRows >= n_rows) break;
    RowFloats y[kColumns];
#pragma GCC unroll 4
    for (int c = 0; c < kColumns; ++c) y[c] = add(add(acc[v][0][c], acc[v][1][c]), add(acc[v][2][c], acc[v][3][c]));
    put_columns<kColumns>(part, y, n_rows - v * kVectorRows, out + v * kVectorRows);
  }
}

/// 16 rows into a tile, for all columns to meet.
template <typename Format>
void spread(const std::byte* rows, int n_blocks, TileBlock* tile) {
  const PackedRows<Format> blocks(rows);
  for (int b = 0; b < n_blocks; ++b, ++tile) {
    blocks.prefetch(b, kPackedPrefetch);
    for (int row = 0; row < kTileRows; row += kVectorRows) {
      const PackedBlock<Format> block = blocks.at(b);
#pragma GCC unroll 8
      for (int j = 0; j < kBlock / 4; ++j) store_rows(tile->w[j][row], block.quants(j, row));
      store_row_floats(&tile->d[row], block.scale(row));
      if constexpr (Format::kHasMinimum) store_row_floats(&tile->m[row], block.minimum(row));
      if constexpr (Format::kHasHalfScale) {
        for (int h = 0; h < 2; ++h) store_rows(&tile->half_scales[h][row], block.half_scale(h, row));
      }
    }
  }
}

/// The blocks of 16 rows as chain_sums() asks for them, every fourth in four passes. Each visit asks for one block of
/// the next 16 rows, in memory order, so that they arrive while these are at work.
template <typename Format>
class PassedRows {
 public:
  PassedRows(const std::byte* rows, int n_blocks) : rows_(rows), n_blocks_(n_blocks) {}

  [[gnu::always_inline]] inline PackedBlock<Format> at(int block) const {
    rows_.prefetch(block / kChains + block % kChains * ((n_blocks_ + 3) / kChains),
                   PackedSizes<Format>::tile(n_blocks_));
    return rows_.at(block);
  }

 private:
  PackedRows<Format> rows_;
  int n_blocks_;
};

/// 16 rows times all packed columns when they are few: at most kColumns.
template <typename Format, int kColumns = kRegisterColumns>
void register_columns(const MatmulPart& part, const std::byte* rows, int n_rows, float* out) {
  if (part.n_columns == kColumns) return packed_columns<Format, kColumns>(part, rows, n_rows, out);
  if constexpr (kColumns > 1) register_columns<Format, kColumns - 1>(part, rows, n_rows, out);
}

template <typename Format>
void packed(const MatmulPart& part) {
  const int n_blocks = part.n_cols / kBlock;
  const std::byte* rows = part.packed_weights;
  for (std::int64_t r = 0; r < part.n_rows; r += kTileRows, rows += PackedSizes<Format>::tile(n_blocks)) {
    const int n_rows = part.n_rows - r < kTileRows ? static_cast<int>(part.n_rows - r) : kTileRows;
    float* out = part.out + r;
    if (part.n_columns <= kRegisterColumns) {
      register_columns<Format>(part, rows, n_rows, out);
    } else if (part.n_columns <= direct_columns<Format>()) {
      all_columns<Format>(part, PassedRows<Format>(rows, n_blocks), n_rows, out);
    } else {
      auto* tile = reinterpret_cast<TileBlock*>(part.tile);
      spread<Format>(rows, n_blocks, tile);
      all_columns<Format>(part, TileRows{tile}, n_rows, out);
    }
  }
}

}  // namespace commissure::cpu::COMMISSURE_ISA_NS
