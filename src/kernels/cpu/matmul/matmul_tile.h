#pragma once

#include "kernels/cpu/matmul/matmul_quantise.h"
#include "kernels/cpu/matmul/row_vectors.h"

/// Many columns: 16 weight rows are unpacked once into a tile with four consecutive bytes of every row side by side,
/// so that one vector holds 16 rows and one broadcast feeds four values of a column to all of them.
namespace commissure::cpu::COMMISSURE_ISA_NS {

/// One 32-block of 16 rows. The half scales are Q6_K's.
struct alignas(64) TileBlock {
  std::uint8_t w[kBlock / 4][kTileRows][4];
  float d[kTileRows];
  float m[kTileRows];
  std::int32_t half_scales[2][kTileRows];

  /// kVectorRows rows from `row` on: their values 4j .. 4j + 3, and their scales.
  RowInts quants(int j, int row) const { return load_rows(w[j][row]); }
  RowFloats scale(int row) const { return load_row_floats(&d[row]); }
  RowFloats minimum(int row) const { return load_row_floats(&m[row]); }
  RowInts half_scale(int half, int row) const { return load_rows(&half_scales[half][row]); }
};
static_assert(kChains * sizeof(TileBlock) == tile_bytes(kBlock));

/// The blocks of 16 rows, unpacked.
struct TileRows {
  const TileBlock* blocks;
  const TileBlock& at(int block) const { return blocks[block]; }
};

// --- unpacking ---

/// 8 rows of 8 dwords become 8 dwords of 8 rows each, `to` moving on by one tile line (64 bytes) per dword.
inline void transpose8(const __m256i* rows, std::uint8_t* to) {
  __m256i a[8], b[8];
  for (int i = 0; i < 8; i += 2) {
    a[i] = _mm256_unpacklo_epi32(rows[i], rows[i + 1]);
    a[i + 1] = _mm256_unpackhi_epi32(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    b[i] = _mm256_unpacklo_epi64(a[i], a[i + 2]);
    b[i + 1] = _mm256_unpackhi_epi64(a[i], a[i + 2]);
    b[i + 2] = _mm256_unpacklo_epi64(a[i + 1], a[i + 3]);
    b[i + 3] = _mm256_unpackhi_epi64(a[i + 1], a[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(to + 64 * i), _mm256_permute2x128_si256(b[i], b[i + 4], 0x20));
    _mm256_store_si256(reinterpret_cast<__m256i*>(to + 64 * (i + 4)), _mm256_permute2x128_si256(b[i], b[i + 4], 0x31));
  }
}

/// Four rows of one float per block go to four tile blocks, at the same place in each.
inline void scatter4(__m128 r0, __m128 r1, __m128 r2, __m128 r3, void* first) {
  _MM_TRANSPOSE4_PS(r0, r1, r2, r3);
  auto* to = static_cast<std::byte*>(first);
  _mm_store_ps(reinterpret_cast<float*>(to), r0);
  _mm_store_ps(reinterpret_cast<float*>(to + sizeof(TileBlock)), r1);
  _mm_store_ps(reinterpret_cast<float*>(to + 2 * sizeof(TileBlock)), r2);
  _mm_store_ps(reinterpret_cast<float*>(to + 3 * sizeof(TileBlock)), r3);
}

/// Group g of 16 rows into tile[0..4). Rows past `n_rows` repeat the last one; their results are dropped.
template <typename Format>
void unpack_group(const MatmulPart& part, const std::byte* first_row, int n_rows, int g, TileBlock* tile) {
  alignas(32) __m256i w[kChains][kTileRows];
  WeightGroup groups[4];
  for (int r = 0; r < kTileRows; ++r) {
    const int row = r < n_rows ? r : n_rows - 1;
    WeightGroup& group = groups[r % 4];
    group = load_group<Format>(first_row + row * part.row_bytes, g, part.n_cols / kBlock);
    for (int i = 0; i < kChains; ++i) w[i][r] = group.w[i];
    if (r % 4 != 3) continue;
    scatter4(groups[0].d, groups[1].d, groups[2].d, groups[3].d, &tile->d[r - 3]);
    if constexpr (Format::kHasMinimum) {
      scatter4(groups[0].m, groups[1].m, groups[2].m, groups[3].m, &tile->m[r - 3]);
    }
    if constexpr (Format::kHasHalfScale) {
      __m128 s[2][4];
      for (int i = 0; i < 4; ++i) {
        s[0][i] = _mm_castsi128_ps(_mm256_castsi256_si128(groups[i].half_scales));
        s[1][i] = _mm_castsi128_ps(_mm256_extracti128_si256(groups[i].half_scales, 1));
      }
      for (int h = 0; h < 2; ++h) scatter4(s[h][0], s[h][1], s[h][2], s[h][3], &tile->half_scales[h][r - 3]);
    }
  }
  for (int i = 0; i < kChains; ++i) {
    transpose8(w[i], &tile[i].w[0][0][0]);
    transpose8(w[i] + 8, &tile[i].w[0][8][0]);
  }
}

// --- products ---

inline std::int32_t int_at(const std::byte* p) {
  std::int32_t x;
  std::memcpy(&x, p, sizeof x);
  return x;
}
inline float float_at(const std::byte* p) {
  float x;
  std::memcpy(&x, p, sizeof x);
  return x;
}

/// Adds dwords [first, first + n) of a block for kCount columns of a group kWidth wide. Below, too, a result for vector
/// v of rows (of kVectors) and column c stands at [v * kCount + c]. matmul_amx.cc has another one for its own blocks.
template <typename Format, int kWidth, int kCount, int kVectors, typename Tile>
[[gnu::always_inline]] inline void add_products(const Tile& tile, int row, const std::byte* x, int first, int n,
                                                RowInts* sums) {
#if defined(__AVX512F__)
  static_assert(kVectors == 1);
#pragma GCC unroll 8
  for (int j = first; j < first + n; ++j) {
    const RowInts w = tile.quants(j, row);
    const std::byte* at = x + 4 * kWidth * j;
#pragma GCC unroll 16
    for (int c = 0; c < kCount; ++c) sums[c] = add_dot4(sums[c], w, int_at(at + 4 * c));
  }
#else
  constexpr int kRun = pairs_in_word(Format::kBits);
  // Dwords j and j + 4 may lie in the same bytes (matmul_packed.h): all eight are taken in the order 0, 4, 1, 5, ...
  const auto dword = [=](int i) { return n == 8 ? i % 2 * 4 + i / 2 : first + i; };
#pragma GCC unroll 8
  for (int j = 0; j < n; j += kRun) {
    RowInts pairs[kVectors * kCount];
#pragma GCC unroll 8
    for (int i = 0; i < kRun; ++i) {
      RowInts w[kVectors];
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) w[v] = tile.quants(dword(j + i), row + v * kVectorRows);
      const std::byte* at = x + 4 * kWidth * dword(j + i);
#pragma GCC unroll 16
      for (int c = 0; c < kCount; ++c) {
        const RowInts x_c = broadcast(int_at(at + 4 * c));
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) {
          const int to = v * kCount + c;
          const RowInts products = dot_pairs<Format::kSigned>(w[v], x_c);
          if constexpr (kRun == 1) {
            sums[to] = add_pairs(sums[to], products);
          } else {
            pairs[to] = i == 0 ? products : add_words(pairs[to], products);
          }
        }
      }
    }
    if constexpr (kRun > 1) {
#pragma GCC unroll 16
      for (int i = 0; i < kVectors * kCount; ++i) sums[i] = add_pairs(sums[i], pairs[i]);
    }
  }
#endif
}

/// Starts sums at minus the offset times the sum of the activations, so that the products need no correction.
template <typename Format, int kCount, int kVectors>
[[gnu::always_inline]] inline void start_sums(const std::byte* minus_sums, RowInts* sums) {
#pragma GCC unroll 16
  for (int i = 0; i < kVectors * kCount; ++i) {
    if constexpr (Format::kBiasShift == kNoBias) {
      sums[i] = broadcast(std::int32_t{0});
    } else {
      sums[i] = shift_left<Format::kBiasShift>(broadcast(int_at(minus_sums + 4 * (i % kCount))));
    }
  }
}

/// Integer sums of kCount columns of a group kWidth wide; x points at the first of them.
template <typename Format, int kWidth, int kCount, int kVectors, typename Tile>
[[gnu::always_inline]] inline void block_sums(const Tile& tile, int row, const std::byte* x, RowInts* sums) {
  constexpr TileOffsets at(kWidth);
  if constexpr (!Format::kHasHalfScale) {
    start_sums<Format, kCount, kVectors>(x + at.minus_sum, sums);
    add_products<Format, kWidth, kCount, kVectors>(tile, row, x, 0, 8, sums);
  } else {
    RowInts second[kVectors * kCount];
    start_sums<Format, kCount, kVectors>(x + at.minus_half, sums);
    add_products<Format, kWidth, kCount, kVectors>(tile, row, x, 0, 4, sums);
    start_sums<Format, kCount, kVectors>(x + at.minus_half + 4 * kWidth, second);
    add_products<Format, kWidth, kCount, kVectors>(tile, row, x, 4, 4, second);
#pragma GCC unroll 16
    for (int i = 0; i < kVectors * kCount; ++i) {
      const int from = row + i / kCount * kVectorRows;
      sums[i] = add(multiply(sums[i], tile.half_scale(0, from)), multiply(second[i], tile.half_scale(1, from)));
    }
  }
}

/// Adds a block's share to kCount chains of each vector of rows; x points at the first column's share of the block, acc
/// at the first vector's chains, kStride to a vector.
template <typename Format, int kWidth, int kCount, int kVectors, int kStride, typename Tile>
[[gnu::always_inline]] inline void add_block(const Tile& tile, int row, const std::byte* x, RowFloats* acc) {
  constexpr TileOffsets at(kWidth);
  RowInts sums[kVectors * kCount];
  block_sums<Format, kWidth, kCount, kVectors>(tile, row, x, sums);
#pragma GCC unroll 2
  for (int v = 0; v < kVectors; ++v) {
    const RowFloats d = tile.scale(row + v * kVectorRows);
    RowFloats* const to = acc + v * kStride;
#pragma GCC unroll 16
    for (int c = 0; c < kCount; ++c) {
      to[c] = multiply_add(to_floats(sums[v * kCount + c]), multiply(d, broadcast(float_at(x + at.d + 4 * c))), to[c]);
    }
    if constexpr (Format::kHasMinimum) {
      const RowFloats m = tile.minimum(row + v * kVectorRows);
#pragma GCC unroll 16
      for (int c = 0; c < kCount; ++c) to[c] = multiply_add(m, broadcast(float_at(x + at.ds + 4 * c)), to[c]);
    }
  }
}

/// Adds a block's share to the chains of a whole group, kColumns wide. Half scales need two integer sums per column, so
/// the columns are then taken in two parts to stay in registers.
template <typename Format, int kColumns, int kVectors = 1, typename Tile>
[[gnu::always_inline]] inline void add_columns(const Tile& tile, int row, const std::byte* x, RowFloats* acc) {
  constexpr int kFirst = Format::kHasHalfScale ? (kColumns + 1) / 2 : kColumns;
  add_block<Format, kColumns, kFirst, kVectors, kColumns>(tile, row, x, acc);
  if constexpr (kFirst < kColumns) {
    add_block<Format, kColumns, kColumns - kFirst, kVectors, kColumns>(tile, row, x + 4 * kFirst, acc + kFirst);
  }
}

#if defined(__AVX512F__)
/// One of the four chains: every fourth block from `chain` on. The sums stay in registers from the first block to the
/// last.
template <typename Format, int kColumns, typename Blocks>
[[gnu::noinline]] void chain_sums(const Blocks& blocks, int n_blocks, int chain, int row, const std::byte* x,
                                  RowFloats* out) {
  RowFloats acc[kColumns];
#pragma GCC unroll 16
  for (int c = 0; c < kColumns; ++c) acc[c] = broadcast(0.0f);
  for (int b = chain; b < n_blocks; b += kChains) {
    add_columns<Format, kColumns>(blocks.at(b), row, x + static_cast<std::ptrdiff_t>(b) * kTileBytesPerBlock * kColumns,
                                  acc);
  }
#pragma GCC unroll 16
  for (int c = 0; c < kColumns; ++c) out[c] = acc[c];
}
#endif

/// Writes kColumns packed columns, or the first n_columns of them, of up to kVectorRows rows, planes added up.
template <int kColumns>
void put_columns(const MatmulPart& part, const RowFloats* y, int n_rows, float* out, int n_columns = kColumns) {
  for (int c = 0; c < n_columns; c += part.n_planes, out += part.out_stride) {
    const RowFloats sum = part.n_planes == 2 ? add(y[c], y[c + 1]) : y[c];
    if (n_rows >= kVectorRows) {
      store_rows(out, sum);
    } else {
      alignas(64) float rows[kVectorRows];
      store_rows(rows, sum);
      std::memcpy(out, rows, sizeof(float) * n_rows);
    }
  }
}

#if defined(__AVX512F__)
/// The whole sums of one group of columns, in four passes: all four chains at once would not fit the registers.
template <typename Format, int kColumns, typename Blocks>
void join_chains(const Blocks& blocks, int n_blocks, int row, const std::byte* x, RowFloats* total) {
  RowFloats even[kColumns], odd[kColumns];
  chain_sums<Format, kColumns>(blocks, n_blocks, 0, row, x, even);
  chain_sums<Format, kColumns>(blocks, n_blocks, 1, row, x, odd);
  for (int c = 0; c < kColumns; ++c) total[c] = add(even[c], odd[c]);
  chain_sums<Format, kColumns>(blocks, n_blocks, 2, row, x, even);
  chain_sums<Format, kColumns>(blocks, n_blocks, 3, row, x, odd);
  for (int c = 0; c < kColumns; ++c) total[c] = add(total[c], add(even[c], odd[c]));
}

/// 16 rows (`blocks`, whose at(block) gives them) times one group of columns.
template <typename Format, int kColumns, typename Blocks>
void tile_columns(const MatmulPart& part, const Blocks& blocks, const std::byte* x, int n_rows, float* out) {
  for (int row = 0; row < n_rows; row += kVectorRows) {
    RowFloats total[kColumns];
    join_chains<Format, kColumns>(blocks, part.n_cols / kBlock, row, x, total);
    put_columns<kColumns>(part, total, n_rows - row, out + row);
  }
}
#else
/// 16 rows (`blocks`, whose at(block) gives them) times one group of columns. The registers are the integer sums' of
/// all 16 rows, so that a broadcast feeds two vectors; the chains, which a block meets once, stay in the cache.
template <typename Format, int kColumns, typename Blocks>
void tile_columns(const MatmulPart& part, const Blocks& blocks, const std::byte* x, int n_rows, float* out) {
  constexpr int kVectors = kTileRows / kVectorRows;
  const int n_blocks = part.n_cols / kBlock;
  // The output's lines lie a column apart, so each one misses; asked for now, they are there when the sums are.
  for (int c = 0; c < kColumns / part.n_planes; ++c) __builtin_prefetch(out + c * part.out_stride, 1);
  RowFloats chains[kChains][kVectors * kColumns];
  for (auto& chain : chains) {
    for (RowFloats& sum : chain) sum = broadcast(0.0f);
  }
  for (int b = 0; b < n_blocks; ++b, x += kTileBytesPerBlock * kColumns) {
    add_columns<Format, kColumns, kVectors>(blocks.at(b), 0, x, chains[b % kChains]);
  }
  for (int v = 0; v * kVectorRows < n_rows; ++v) {
    RowFloats total[kColumns];
    for (int c = 0; c < kColumns; ++c) {
      const int i = v * kColumns + c;
      total[c] = add(add(chains[0][i], chains[1][i]), add(chains[2][i], chains[3][i]));
    }
    put_columns<kColumns>(part, total, n_rows - v * kVectorRows, out + v * kVectorRows);
  }
}
#endif

/// Columns [0, n) of a group that is n wide.
template <typename Format, int kColumns, typename Blocks>
void last_columns(const MatmulPart& part, const Blocks& blocks, const std::byte* x, int n_rows, int n, float* out) {
  if constexpr (kColumns > 0) {
    if (n == kColumns) return tile_columns<Format, kColumns>(part, blocks, x, n_rows, out);
    last_columns<Format, kColumns - 1>(part, blocks, x, n_rows, n, out);
  }
}

/// 16 rows times all packed columns.
template <typename Format, typename Blocks>
void all_columns(const MatmulPart& part, const Blocks& blocks, int n_rows, float* out) {
  const std::size_t group_bytes = std::size_t{kTileBytesPerBlock} * kTileWidth * (part.n_cols / kBlock);
  const std::ptrdiff_t group_stride = kTileWidth / part.n_planes * part.out_stride;
  const std::byte* x = part.packed;
  int left = part.n_columns;
  for (; left >= kTileWidth; left -= kTileWidth, x += group_bytes, out += group_stride) {
    tile_columns<Format, kTileWidth>(part, blocks, x, n_rows, out);
  }
  last_columns<Format, kTileWidth - 1>(part, blocks, x, n_rows, left, out);
}

/// All blocks of 16 rows. A last group of fewer than four still writes four; tile_bytes() leaves room.
template <typename Format>
void unpack_rows(const MatmulPart& part, const std::byte* rows, int n_rows, TileBlock* tile) {
  constexpr std::size_t kGroupBytes = sizeof(typename Format::Block) * kChains / Format::kBlocks;
  for (int g = 0; g * kChains < part.n_cols / kBlock; ++g) {
    // Sixteen rows side by side defeat the hardware's prefetchers: ask for the next tile's bytes in storage order.
    const std::byte* ahead = rows + kTileRows * (part.row_bytes + g * kGroupBytes);
    for (std::size_t i = 0; i < kTileRows * kGroupBytes; i += 64) _mm_prefetch(ahead + i, _MM_HINT_T1);
    unpack_group<Format>(part, rows, n_rows, g, tile + g * kChains);
  }
}

template <typename Format>
void tile(const MatmulPart& part) {
  auto* tile = reinterpret_cast<TileBlock*>(part.tile);
  for (std::int64_t r = 0; r < part.n_rows; r += kTileRows) {
    const int n_rows = part.n_rows - r < kTileRows ? static_cast<int>(part.n_rows - r) : kTileRows;
    unpack_rows<Format>(part, part.weights + r * part.row_bytes, n_rows, tile);
    all_columns<Format>(part, TileRows{tile}, n_rows, part.out + r);
  }
}

}  // namespace commissure::cpu::COMMISSURE_ISA_NS
