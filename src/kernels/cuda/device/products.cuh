#pragma once

#include "kernels/cuda/device/formats.cuh"

/// Products in the canonical order of decision 1: 32-blocks exact in int32, four chains by block index mod 4, joined as
/// (0 + 1) + (2 + 3). A tensor core adds a block; each output's bits follow from its own row and column alone, whatever
/// else shares the instruction. bf16 weights follow the same chains, summed by the tensor core.
namespace commissure::cuda {

constexpr int kProductThreads = 128;
constexpr int kProductWarps = kProductThreads / kWarp;

/// Bytes a lane holds of a block of 8 columns of x.
template <int kFormat>
constexpr int input_bytes() {
  return kFormat == kBF16 ? 16 : 8;
}

/// A block of 8 columns, as pack.cu wrote it.
template <int kFormat>
struct InputBlock {
  unsigned x[kFormat == kBF16 ? 4 : 2];
  float d[2], sum[2];  ///< of columns 2 (lane % 4) and the next
};

template <int kFormat>
DEVICE void take_values(const uint8_t* from, InputBlock<kFormat>& out) {
  if constexpr (kFormat == kBF16) {
    const uint4 v = load_wide(reinterpret_cast<const uint4*>(from));
    out.x[0] = v.x;
    out.x[1] = v.y;
    out.x[2] = v.z;
    out.x[3] = v.w;
  } else {
    const uint2 v = load_wide(reinterpret_cast<const uint2*>(from));
    out.x[0] = v.x;
    out.x[1] = v.y;
  }
}

/// `at` counts blocks of 8 columns.
template <int kFormat>
DEVICE void take_scales(const ProductArgs& args, size_t at, int lane, InputBlock<kFormat>& out) {
  if constexpr (kFormat != kBF16) {
    const size_t from = at * kTileColumns + lane % 4 * 2;
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      out.d[e] = args.scales[from + e];
      if constexpr (traits_of(kFormat).has_minimum) out.sum[e] = args.sums[from + e];
    }
  }
}

template <int kFormat>
DEVICE void accumulate(const WeightBlock& w, const InputBlock<kFormat>& x, float (&acc)[4]) {
  int sum[4];
  block_sums<kFormat>(w, x.x, sum);
#pragma unroll
  for (int e = 0; e < 4; ++e) {
    acc[e] = fmaf(static_cast<float>(sum[e]), w.d[e / 2] * x.d[e % 2], acc[e]);
    if constexpr (traits_of(kFormat).has_minimum) acc[e] = fmaf(w.m[e / 2], x.sum[e % 2], acc[e]);
  }
}

/// bf16 weights lie as rows; which of a block's values meet in one instruction is free as long as x's do likewise:
/// lane l holds values 8 (l % 4) .. + 7 of its rows.
struct Bf16Block {
  uint4 low, high;
};

template <>
struct WeightChain<kBF16> {
  const uint8_t* low;
  const uint8_t* high;
  static constexpr size_t kStep = kChains * kBlock * sizeof(uint16_t);

  DEVICE WeightChain(const ProductArgs& args, const PackedLayout& layout, int tile, int chain, int lane) {
    const size_t row_bytes = static_cast<size_t>(layout.n_blocks) * kBlock * sizeof(uint16_t);
    const int row = tile * kTileRows + lane / 4, last = args.n_rows - 1;
    const uint8_t* from = args.weights + chain * (kBlock * sizeof(uint16_t)) + lane % 4 * 16;
    low = from + (row < last ? row : last) * row_bytes;
    high = from + (row + 8 < last ? row + 8 : last) * row_bytes;
  }
  DEVICE Bf16Block load(int i) const {
    return {load_stream(reinterpret_cast<const uint4*>(low + i * kStep)),
            load_stream(reinterpret_cast<const uint4*>(high + i * kStep))};
  }
};

template <int kFormat>
DEVICE void accumulate(const Bf16Block& w, const InputBlock<kBF16>& x, float (&acc)[4]) {
  const unsigned a0[4] = {w.low.x, w.high.x, w.low.y, w.high.y}, a1[4] = {w.low.z, w.high.z, w.low.w, w.high.w};
  const unsigned b0[2] = {x.x[0], x.x[1]}, b1[2] = {x.x[2], x.x[3]};
  multiply_add(acc, a0, b0);
  multiply_add(acc, a1, b1);
}

/// Blocks of a chain: those of bf16 rows end where the row does, the packed ones are filled up.
template <int kFormat>
DEVICE int chain_blocks(const PackedLayout& layout, int chain) {
  if constexpr (kFormat != kBF16) return layout.per_chain;
  return (layout.n_blocks - chain + kChains - 1) / kChains;
}

/// What becomes of a finished product: both planes added, bias, scale.
template <int kTiles>
DEVICE void put(const ProductArgs& args, int tile, int first, int lane, const float (&y)[kTiles][4]) {
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
    if (args.n_planes == 2 && t % 2 != 0) continue;
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int row = tile * kTileRows + lane / 4 + e / 2 * 8;
      const int column = (first + t) / args.n_planes * kTileColumns + lane % 4 * 2 + e % 2;
      if (row >= args.n_rows || column >= args.n_columns) continue;
      const size_t at = static_cast<size_t>(column) * args.out_stride + row;
      float value = y[t][e];
      if (args.n_planes == 2) {
        const float second = y[(t + 1) % kTiles][e];
        if (args.second != nullptr) {
          args.second[at] = second;
        } else {
          value = value + second;
        }
      }
      if (args.bias != nullptr) value = value + args.bias[row];
      args.out[at] = args.scale == 1.0f ? value : value * args.scale;
    }
  }
}

DEVICE int input_tiles(const ProductArgs& args) {
  return (args.n_columns + kTileColumns - 1) / kTileColumns * args.n_planes;
}

/// Sums on their way to the first warp.
template <int kTiles>
struct ChainSums {
  float of[kChains - 1][kTiles * 4][kWarp];
};

/// Few columns: a block of four warps takes a tile of 16 rows, a chain each, so that all of the tile's bytes are in
/// flight together.
template <int kFormat, int kTiles>
DEVICE void few_columns(const ProductArgs& args) {
  SHARED(ChainSums<kTiles>, parts);
  const PackedLayout layout = packed_layout(kFormat, args.n_rows, args.n_cols);
  const int lane = threadIdx.x % kWarp, chain = threadIdx.x / kWarp, tile = blockIdx.x;
  const int n_inputs = layout.per_chain * kChains, n_blocks = chain_blocks<kFormat>(layout, chain);
  const int n_tiles = input_tiles(args);
  const WeightChain<kFormat> weights(args, layout, tile, chain, lane);
  float y[kTiles][4] = {};
#pragma unroll 4
  for (int i = 0; i < n_blocks; ++i) {
    const auto w = weights.load(i);
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
      if (t >= n_tiles) break;
      const size_t at = static_cast<size_t>(t) * n_inputs + i * kChains + chain;
      InputBlock<kFormat> x;
      take_values<kFormat>(args.values + (at * kWarp + lane) * input_bytes<kFormat>(), x);
      take_scales<kFormat>(args, at, lane, x);
      accumulate<kFormat>(w, x, y[t]);
    }
  }
  if (chain > 0) {
#pragma unroll
    for (int i = 0; i < kTiles * 4; ++i) parts.of[chain - 1][i][lane] = y[i / 4][i % 4];
  }
  __syncthreads();
  if (chain > 0) return;
#pragma unroll
  for (int i = 0; i < kTiles * 4; ++i) {
    y[i / 4][i % 4] = (y[i / 4][i % 4] + parts.of[0][i][lane]) + (parts.of[1][i][lane] + parts.of[2][i][lane]);
  }
  put<kTiles>(args, tile, 0, lane, y);
}

/// Many columns: each of four warps takes 16 rows and all take the same kTiles tiles of columns, the chains one after
/// the other. x goes through shared memory, a block ahead of the one that is multiplied.
template <int kFormat, int kTiles>
struct ManyColumns {
  static constexpr int kPieces = kTiles * kWarp * input_bytes<kFormat>() / 16;  ///< of 16 bytes, in a block of x
  static constexpr int kPiecesPerTile = kPieces / kTiles;

  struct Staged {
    uint4 of[2][kPieces];
  };

  DEVICE static void fetch(const ProductArgs& args, int first, int n_inputs, int block, uint4* to) {
    for (int piece = threadIdx.x; piece < kPieces; piece += kProductThreads) {
      const size_t at = static_cast<size_t>(first + piece / kPiecesPerTile) * n_inputs + block;
      copy_async(to + piece, args.values + (at * kPiecesPerTile + piece % kPiecesPerTile) * 16);
    }
    copy_commit();
  }

  DEVICE static void run(const ProductArgs& args) {
    SHARED(Staged, staged);
    const PackedLayout layout = packed_layout(kFormat, args.n_rows, args.n_cols);
    const int lane = threadIdx.x % kWarp, n_inputs = layout.per_chain * kChains, first = blockIdx.y * kTiles;
    const int tile = blockIdx.x * kProductWarps + threadIdx.x / kWarp;
    const int own = tile < layout.n_tiles ? tile : layout.n_tiles - 1;
    float pairs[2][kTiles][4], acc[kTiles][4];
#pragma unroll
    for (int chain = 0; chain < kChains; ++chain) {
      const WeightChain<kFormat> weights(args, layout, own, chain, lane);
      const int n_blocks = chain_blocks<kFormat>(layout, chain);
#pragma unroll
      for (int i = 0; i < kTiles * 4; ++i) acc[i / 4][i % 4] = 0.0f;
      if (n_blocks > 0) fetch(args, first, n_inputs, chain, staged.of[0]);
      for (int i = 0; i < n_blocks; ++i) {
        const auto w = weights.load(i);
        copy_wait<0>();
        __syncthreads();
        if (i + 1 < n_blocks) fetch(args, first, n_inputs, (i + 1) * kChains + chain, staged.of[(i + 1) % 2]);
#pragma unroll
        for (int t = 0; t < kTiles; ++t) {
          InputBlock<kFormat> x;
          const auto* values = reinterpret_cast<const uint8_t*>(staged.of[i % 2]);
          take_values<kFormat>(values + (t * kWarp + lane) * input_bytes<kFormat>(), x);
          take_scales<kFormat>(args, static_cast<size_t>(first + t) * n_inputs + i * kChains + chain, lane, x);
          accumulate<kFormat>(w, x, acc[t]);
        }
      }
      __syncthreads();
#pragma unroll
      for (int e = 0; e < kTiles * 4; ++e) {
        float& pair = pairs[chain / 2][e / 4][e % 4];
        pair = chain % 2 == 0 ? acc[e / 4][e % 4] : pair + acc[e / 4][e % 4];
      }
    }
#pragma unroll
    for (int e = 0; e < kTiles * 4; ++e) acc[e / 4][e % 4] = pairs[0][e / 4][e % 4] + pairs[1][e / 4][e % 4];
    if (tile < layout.n_tiles) put<kTiles>(args, tile, first, lane, acc);
  }
};

}  // namespace commissure::cuda
