#include "kernels/cuda/device/formats.cuh"

/// Packing: weights into fragment order when they are loaded, and rows of x in front of every product.
namespace commissure::cuda {

/// Scales of a block's row as packed; `sub` as in stored_quant().
template <int kFormat>
DEVICE void store_scales(const uint8_t* block, int sub, uint8_t* to) {
  constexpr FormatTraits kTraits = traits_of(kFormat);
  if constexpr (!kTraits.is_k) {
    for (int i = 0; i < scale_bytes(kTraits); ++i) to[i] = block[i];
  } else if constexpr (kTraits.has_minimum) {
    const uint32_t both = sub_scales(block + 4, sub);
    to[0] = static_cast<uint8_t>(both);
    to[1] = static_cast<uint8_t>(both >> 8);
  } else {
    for (int h = 0; h < 2; ++h) to[h] = block[192 + 2 * sub + h];
  }
}

/// A thread packs a lane of a block: four values of each operand register.
template <int kFormat>
DEVICE void store_quants(const uint8_t* const (&rows)[2], int sub, int lane, uint8_t* quants, uint8_t* high) {
  constexpr FormatTraits kTraits = traits_of(kFormat);
  uint32_t above = 0;
  for (int r = 0; r < 4; ++r) {
    for (int e = 0; e < 4; ++e) {
      const int q = stored_quant<kFormat>(rows[r % 2], sub, r / 2 * 16 + lane % 4 * 4 + e);
      if constexpr (kTraits.bits == 8) {
        quants[r * 4 + e] = static_cast<uint8_t>(q);
      } else {
        uint8_t& byte = quants[r / 2 * 4 + e];
        byte = static_cast<uint8_t>(r % 2 == 0 ? q & 15 : byte | ((q & 15) << 4));
      }
      if constexpr (kTraits.bits == 5) above |= static_cast<uint32_t>(q >> 4) << (4 * r + e);
      if constexpr (kTraits.bits == 6) above |= static_cast<uint32_t>(q >> 4) << (8 * e + 2 * r);
    }
  }
  if constexpr (kTraits.bits == 5) *reinterpret_cast<uint16_t*>(high) = static_cast<uint16_t>(above);
  if constexpr (kTraits.bits == 6) *reinterpret_cast<uint32_t*>(high) = above;
}

/// A block of threads takes a tile of 16 rows, a warp one block of 32 columns after the other.
template <int kFormat>
DEVICE void repack(const RepackArgs& args) {
  constexpr FormatTraits kTraits = traits_of(kFormat);
  const PackedLayout layout = packed_layout(kFormat, args.n_rows, args.n_cols);
  const int lane = threadIdx.x % kWarp, tile = blockIdx.x, per_unit = kTraits.per_unit;
  const size_t row_bytes = static_cast<size_t>(layout.n_blocks / per_unit) * kTraits.stored_bytes;
  for (int b = threadIdx.x / kWarp; b < layout.n_blocks; b += blockDim.x / kWarp) {
    const size_t slot = (static_cast<size_t>(tile) * kChains + b % kChains) * layout.per_chain + b / kChains;
    const uint8_t* rows[2];
    for (int r = 0; r < 2; ++r) {
      const int row = tile * kTileRows + lane / 4 + 8 * r;
      const int own = row < args.n_rows ? row : args.n_rows - 1;
      rows[r] = args.from + own * row_bytes + static_cast<size_t>(b / per_unit) * kTraits.stored_bytes;
      if (lane % 4 != 0 || row >= args.n_rows) continue;
      const int at = lane / 4 + 8 * r;
      store_scales<kFormat>(rows[r], b % per_unit,
                            args.to + layout.scales + (slot * kTileRows + at) * scale_bytes(kTraits));
      if (!kTraits.is_k || b % 8 != 0) continue;
      const size_t super = (static_cast<size_t>(tile) * (layout.n_blocks / 8) + b / 8) * kTileRows + at;
      const uint8_t* d = rows[r] + (kFormat == kQ6_K ? 208 : 0);
      for (int i = 0; i < super_bytes(kTraits); ++i) args.to[layout.supers + super * super_bytes(kTraits) + i] = d[i];
    }
    store_quants<kFormat>(rows, b % per_unit, lane, args.to + (slot * kWarp + lane) * quant_bytes(kTraits),
                          args.to + layout.high + (slot * kWarp + lane) * high_bytes(kTraits));
  }
}

constexpr int kPackThreads = 128;

KERNEL(RepackArgs, kPackThreads, repack_q4_0) { repack<kQ4_0>(args); }
KERNEL(RepackArgs, kPackThreads, repack_q4_1) { repack<kQ4_1>(args); }
KERNEL(RepackArgs, kPackThreads, repack_q5_0) { repack<kQ5_0>(args); }
KERNEL(RepackArgs, kPackThreads, repack_q5_1) { repack<kQ5_1>(args); }
KERNEL(RepackArgs, kPackThreads, repack_q8_0) { repack<kQ8_0>(args); }
KERNEL(RepackArgs, kPackThreads, repack_q4_k) { repack<kQ4_K>(args); }
KERNEL(RepackArgs, kPackThreads, repack_q5_k) { repack<kQ5_K>(args); }
KERNEL(RepackArgs, kPackThreads, repack_nf4) { repack<kNF4>(args); }
KERNEL(RepackArgs, kPackThreads, repack_mxfp4) { repack<kMXFP4>(args); }
KERNEL(RepackArgs, kPackThreads, repack_q6_k) { repack<kQ6_K>(args); }

/// Rounds 32 values, one a lane, to int8 with one scale; returns the rounding error. `probe` is 0, or NaN for a column
/// that holds an infinity or NaN: then all of it becomes NaN. (cpu/matmul/matmul_quantise.h)
DEVICE float quantise_block(float x, float probe, const PackInputArgs& args, size_t block, int column, int lane) {
  const float largest = largest_of_warp(x < 0.0f ? -x : x);
  const bool is_zero = largest < 1e-30f;
  const float d = is_zero ? 0.0f : largest / 127.0f;
  const float inverse = is_zero ? 0.0f : 1.0f / d;
  const int q = to_int8(x * inverse);
  const int sum = sum_of_warp(q);
  const size_t at = (block * kWarp + column * 4 + lane % 16 / 4) * 8 + lane / 16 * 4 + lane % 4;
  args.values[at] = static_cast<uint8_t>(q);
  if (lane == 0) {
    args.scales[block * kTileColumns + column] = d + probe;
    args.sums[block * kTileColumns + column] = d * static_cast<float>(sum) + probe;
  }
  return x - d * rintf(x * inverse);
}

/// 0 when all values are finite, else NaN: in every thread of the block.
DEVICE float finite_probe(const float* x, int n_cols, int* is_bad) {
  if (threadIdx.x == 0) *is_bad = 0;
  __syncthreads();
  for (int k = threadIdx.x; k < n_cols; k += blockDim.x) {
    if (!(x[k] - x[k] == 0.0f)) *is_bad = 1;  // all that write write the same
  }
  __syncthreads();
  return *is_bad != 0 ? bits_to_float(0x7fc00000u) : 0.0f;
}

/// A block of threads takes a column (a row of x); columns that fill up the last tile of 8 are zero.
KERNEL(PackInputArgs, kPackThreads, pack_int8) {
  SHARED(int, is_bad);
  const int column = blockIdx.x, lane = threadIdx.x % kWarp;
  const int n_blocks = (args.n_cols / kBlock + kChains - 1) / kChains * kChains;
  const bool is_absent = column >= args.n_columns;
  const float* x = args.x + static_cast<size_t>(is_absent ? 0 : column) * args.x_stride;
  const float probe = is_absent ? 0.0f : finite_probe(x, args.n_cols, &is_bad);
  const size_t tile = static_cast<size_t>(column / kTileColumns) * args.n_planes;
  for (int b = threadIdx.x / kWarp; b < n_blocks; b += kPackThreads / kWarp) {
    const bool is_zero = is_absent || b >= args.n_cols / kBlock;
    float value = is_zero ? 0.0f : x[b * kBlock + lane];
    for (int plane = 0; plane < args.n_planes; ++plane) {
      const size_t block = (tile + plane) * n_blocks + b;
      value = quantise_block(value, is_zero ? 0.0f : probe, args, block, column % kTileColumns, lane);
    }
  }
}

/// The same for bf16 weights: x rounded to bf16, in the order of products.cuh's Bf16Block.
KERNEL(PackInputArgs, kPackThreads, pack_bf16_input) {
  const int column = blockIdx.x;
  const int n_blocks = (args.n_cols + kBlock * kChains - 1) / (kBlock * kChains) * kChains;
  const float* x = args.x + static_cast<size_t>(column < args.n_columns ? column : 0) * args.x_stride;
  for (int k = threadIdx.x; k < n_blocks * kBlock; k += kPackThreads) {
    const bool is_zero = column >= args.n_columns || k >= args.n_cols;
    const size_t block = static_cast<size_t>(column / kTileColumns) * n_blocks + k / kBlock;
    const size_t lane = block * kWarp + column % kTileColumns * 4 + k % kBlock / 8;
    reinterpret_cast<uint16_t*>(args.values)[lane * 8 + k % 8] = is_zero ? 0 : float_to_bf16(x[k]);
  }
}

}  // namespace commissure::cuda
