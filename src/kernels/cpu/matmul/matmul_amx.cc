#include "kernels/cpu/isa/tile_unit.h"
#include "kernels/cpu/matmul/matmul_packed.h"

/// Many columns of quantised weights on AMX: its tiles give the integer sums, everything after them is matmul_tile.h's,
/// hence the same bits. A 32-block of 16 rows, as a TileBlock holds it, is a tile of weights; a tile of activations has
/// a column's 32 int8 in each of up to 16 rows; row c of the tile of their products has column c's sums for the 16
/// weight rows. With half scales (Q6_K) a block is two products of 16 values each.
namespace commissure::cpu::COMMISSURE_ISA_NS {
namespace {

/// A group of columns is always this wide in memory; absent ones are zero.
constexpr int kGroupColumns = 16;
constexpr int kGroupBlockBytes = kTileBytesPerBlock * kGroupColumns;
/// From one block of a chain to its next one.
constexpr std::ptrdiff_t kNextInChain = std::ptrdiff_t{kChains} * kGroupBlockBytes;

/// Tiles 0 .. 3 hold products; two each hold activations and weights, so that loads need not wait for products.
constexpr int kProductTiles = 4, kColumnsTile = 4, kWeightsTile = 6;
constexpr int kTileLine = 64;

template <typename Format>
constexpr int kParts = Format::kHasHalfScale ? 2 : 1;  // products of a block
template <typename Format>
constexpr int kRun = kProductTiles / kParts<Format>;  // blocks multiplied before their sums are used

/// The tiles of this thread, for as long as it lives.
class Tiles {
 public:
  Tiles(int n_columns, int n_parts) {
    // Fewer rows when all columns are fewer than a group: products take as many cycles as they have rows.
    const int n = n_columns < kGroupColumns ? (n_columns + 3) / 4 * 4 : kGroupColumns;
    TileConfig config = {};
    config.palette = 1;
    for (int i = 0; i < kColumnsTile; ++i) shape(config, i, n, kTileLine);
    for (int i = kColumnsTile; i < kWeightsTile; ++i) shape(config, i, n, kBlock / n_parts);
    for (int i = kWeightsTile; i < 8; ++i) shape(config, i, kBlock / 4 / n_parts, kTileLine);
    configure_tiles(config);
  }
  ~Tiles() { release_tiles(); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

 private:
  static void shape(TileConfig& config, int tile, int rows, int row_bytes) {
    config.rows[tile] = static_cast<std::uint8_t>(rows);
    config.row_bytes[tile] = static_cast<std::uint16_t>(row_bytes);
  }
};

/// What the product tiles were stored to.
struct alignas(64) Products {
  std::int32_t sums[kProductTiles][kGroupColumns][kTileRows];
};

/// Product i of a run: of the blocks of one chain from `blocks` on, and one group of columns.
template <typename Format, int i>
[[gnu::always_inline]] inline void multiply(const TileBlock* blocks, const std::byte* x) {
  constexpr int kAt = i / kParts<Format>, kPart = i % kParts<Format>;
  load_tile<kColumnsTile + i % 2>(x + kAt * kNextInChain + kPart * kBlock / 2, kBlock);
  load_tile<kWeightsTile + i % 2>(blocks[kAt * kChains].w[kPart * 4], kTileLine);
  zero_tile<i>();
  add_tile_products<i, kColumnsTile + i % 2, kWeightsTile + i % 2>();
}

template <int i>
[[gnu::always_inline]] inline void store(Products& to) {
  store_tile<i>(to.sums[i], kTileLine);
}

/// Multiplies the next n_blocks (1 .. kRun) of a chain.
template <typename Format>
[[gnu::always_inline]] inline void multiply_run(const TileBlock* blocks, const std::byte* x, int n_blocks,
                                                Products& to) {
  const int n = n_blocks * kParts<Format>;
  multiply<Format, 0>(blocks, x);
  if (n > 1) multiply<Format, 1>(blocks, x);
  if (n > 2) multiply<Format, 2>(blocks, x);
  if (n > 3) multiply<Format, 3>(blocks, x);
  store<0>(to);
  if (n > 1) store<1>(to);
  if (n > 2) store<2>(to);
  if (n > 3) store<3>(to);
}

/// A block that has been multiplied, with TileBlock's face.
struct MultipliedBlock {
  const TileBlock& weights;
  const std::int32_t (*sums)[kGroupColumns][kTileRows];  ///< of each part
  int first_column;

  RowFloats scale(int row) const { return weights.scale(row); }
  RowFloats minimum(int row) const { return weights.minimum(row); }
  RowInts half_scale(int half, int row) const { return weights.half_scale(half, row); }
};

/// add_block's products: already there.
template <typename Format, int kWidth, int kCount, int kVectors>
[[gnu::always_inline]] inline void add_products(const MultipliedBlock& block, int /*row*/, const std::byte* /*x*/,
                                                int first, int /*n*/, RowInts* sums) {
  static_assert(kVectors == 1);
  const auto& products = block.sums[first / 4];
#pragma GCC unroll 16
  for (int c = 0; c < kCount; ++c) sums[c] = add(sums[c], load_rows(products[block.first_column + c]));
}

/// The blocks of 16 rows, unpacked, to be multiplied by tiles.
struct MultipliedRows {
  const TileBlock* blocks;
};

/// One of the four chains, as chain_sums() in matmul_tile.h. While the sums of one run of blocks are scaled and added,
/// the tiles multiply the next one.
template <typename Format, int kColumns>
[[gnu::noinline]] void chain_sums(const MultipliedRows& rows, int n_blocks, int chain, int row, const std::byte* x,
                                  RowFloats* out) {
  constexpr int kN = kRun<Format>, kCount = 4;  // columns at a time: their sums stay in registers
  const auto n_of_run = [n = (n_blocks - chain + kChains - 1) / kChains](int i) {
    const int left = n - i * kN;
    return left < kN ? left : kN;
  };
  const auto multiply_next = [&](int i, Products& to) {
    if (n_of_run(i) <= 0) return;
    multiply_run<Format>(rows.blocks + chain + i * kN * kChains, x + chain * kGroupBlockBytes + i * kN * kNextInChain,
                         n_of_run(i), to);
  };
  RowFloats acc[kColumns];
#pragma GCC unroll 16
  for (int c = 0; c < kColumns; ++c) acc[c] = broadcast(0.0f);

  Products products[2];
  multiply_next(0, products[0]);
  for (int i = 0; n_of_run(i) > 0; ++i) {
    multiply_next(i + 1, products[(i + 1) % 2]);
    for (int j = 0; j < n_of_run(i); ++j) {
      const int b = chain + (i * kN + j) * kChains;
      const std::byte* at = x + static_cast<std::ptrdiff_t>(b) * kGroupBlockBytes;
#pragma GCC unroll 4
      for (int c = 0; c < kColumns; c += kCount) {
        const MultipliedBlock block = {rows.blocks[b], &products[i % 2].sums[j * kParts<Format>], c};
        add_block<Format, kGroupColumns, kCount, 1, kCount>(block, row, at + 4 * c, acc + c);
      }
    }
  }
#pragma GCC unroll 16
  for (int c = 0; c < kColumns; ++c) out[c] = acc[c];
}

/// 16 rows times the first n_columns of a group.
template <typename Format, int kColumns = kGroupColumns>
void group_columns(const MatmulPart& part, const TileBlock* blocks, const std::byte* x, int n_rows, int n_columns,
                   float* out) {
  if constexpr (kColumns > 4) {
    if (n_columns <= kColumns - 4) {
      return group_columns<Format, kColumns - 4>(part, blocks, x, n_rows, n_columns, out);
    }
  }
  RowFloats total[kColumns];
  join_chains<Format, kColumns>(MultipliedRows{blocks}, part.n_cols / kBlock, 0, x, total);
  put_columns<kColumns>(part, total, n_rows, out, n_columns);
}

/// All rows of a part; fill(first row, n_rows, tile) unpacks 16 of them.
template <typename Format, typename Fill>
void multiply_rows(const MatmulPart& part, Fill fill) {
  const Tiles tiles(part.n_columns, kParts<Format>);
  auto* blocks = reinterpret_cast<TileBlock*>(part.tile);
  const std::ptrdiff_t group_bytes = static_cast<std::ptrdiff_t>(part.n_cols / kBlock) * kGroupBlockBytes;
  const std::ptrdiff_t group_stride = kGroupColumns / part.n_planes * part.out_stride;
  for (std::int64_t r = 0; r < part.n_rows; r += kTileRows) {
    const int n_rows = part.n_rows - r < kTileRows ? static_cast<int>(part.n_rows - r) : kTileRows;
    fill(r, n_rows, blocks);
    for (int c = 0, group = 0; c < part.n_columns; c += kGroupColumns, ++group) {
      const int n_columns = part.n_columns - c < kGroupColumns ? part.n_columns - c : kGroupColumns;
      group_columns<Format>(part, blocks, part.packed + group * group_bytes, n_rows, n_columns,
                            part.out + r + group * group_stride);
    }
  }
}

template <typename Format>
void multiply_stored(const MatmulPart& part) {
  multiply_rows<Format>(part, [&](std::int64_t r, int n_rows, TileBlock* blocks) {
    unpack_rows<Format>(part, part.weights + r * part.row_bytes, n_rows, blocks);
  });
}

template <typename Format>
void multiply_packed(const MatmulPart& part) {
  const int n_blocks = part.n_cols / kBlock;
  multiply_rows<Format>(part, [&](std::int64_t r, int /*n_rows*/, TileBlock* blocks) {
    const std::size_t tile_bytes = PackedSizes<Format>::tile(n_blocks);
    spread<Format>(part.packed_weights + r / kTileRows * tile_bytes, n_blocks, blocks);
  });
}

void stored_of(const MatmulPart& part) {
  with_format(part.dtype, [&](auto format) { multiply_stored<decltype(format)>(part); });
}

void packed_of(const MatmulPart& part) {
  with_format(part.dtype, [&](auto format) { multiply_packed<decltype(format)>(part); });
}

void pack_columns_of(const float* x, std::ptrdiff_t x_stride, int n_cols, int n_columns, int n_planes, std::byte* out) {
  if (n_columns < kGroupColumns) {
    std::memset(out, 0, std::size_t{kGroupBlockBytes} * (n_cols / kBlock));
  }
  pack_columns<Interleave::kColumns>(x, x_stride, n_cols, n_columns, kGroupColumns, n_planes, out);
}

}  // namespace

// Fewer columns are not worth unpacking the weights to memory; a guess, for no one has timed it on a CPU with AMX.
const WideKernels kWide = {
    .width = kGroupColumns, .min_columns = 8, .pack = pack_columns_of, .stored = stored_of, .packed = packed_of};

}  // namespace commissure::cpu::COMMISSURE_ISA_NS
