#pragma once

#include "kernels/cuda/device/numbers.cuh"

/// Blocks of 16 rows by 32 columns out of a packed matrix (PackedLayout), and how stored blocks become them.
namespace commissure::cuda {

/// Bits 0..3 of v as bytes of 0 or 1.
DEVICE uint32_t spread_bits(uint32_t v) { return (v * 0x00204081u) & 0x01010101u; }

/// Four bytes below 128, each less `bias`.
template <int kBias>
DEVICE uint32_t without_bias(uint32_t bytes) {
  if constexpr (kBias == 0) return bytes;
  return ((bytes | 0x80808080u) - kBias * 0x01010101u) ^ 0x80808080u;
}

/// The 16 values of NF4 in steps of 1 / 112 of a block's largest (kernels/quant.h), four bytes to a word.
constexpr uint32_t kNf4Words[4] = {0xd4c5b290u, 0x00f6ebe0u, 0x261c1209u, 0x70513f31u};

/// FP4's 16 values, doubled (kernels/quant.h).
constexpr uint32_t kFp4Words[4] = {0x03020100u, 0x0c080604u, 0xfdfeff00u, 0xf4f8fafcu};

/// Whether a format's nibbles are codes, whose values are looked up.
constexpr bool has_codes(int format) { return format == kNF4 || format == kMXFP4; }

/// The values of four codes, a byte each.
template <int kFormat>
DEVICE uint32_t coded_values(uint32_t codes) {
  constexpr bool kIsNf4 = kFormat == kNF4;
  constexpr uint32_t kWords[4] = {kIsNf4 ? kNf4Words[0] : kFp4Words[0], kIsNf4 ? kNf4Words[1] : kFp4Words[1],
                                  kIsNf4 ? kNf4Words[2] : kFp4Words[2], kIsNf4 ? kNf4Words[3] : kFp4Words[3]};
  const uint32_t pairs = (codes | (codes >> 4)) & 0x00ff00ffu, nibbles = (pairs | (pairs >> 8)) & 0xffffu;
  const uint32_t low = __byte_perm(kWords[0], kWords[1], nibbles & 0x7777u);
  const uint32_t high = __byte_perm(kWords[2], kWords[3], nibbles & 0x7777u);
  return __byte_perm(low, high, 0x3210u | ((nibbles >> 1) & 0x4444u));
}

/// 2^(e - 128), as kernels/quant.h's fp4_scale().
DEVICE float exponent_scale(uint32_t e) { return 0.5f * bits_to_float(e == 0 ? 0x00400000u : e << 23); }

/// Lane l of a block: rows l / 4 and l / 4 + 8.
struct WeightBlock {
  unsigned q[4];         ///< the A operand
  float d[2];            ///< scales of the two rows
  float m[2];            ///< minima, only with has_minimum
  int half_scale[2][2];  ///< [half][row], only with has_half_scale
};

/// What a format's kernels read: one chain of one tile.
template <int kFormat>
struct WeightChain {
  static constexpr FormatTraits kTraits = traits_of(kFormat);
  const uint8_t* quants;
  const uint8_t* high;
  const uint8_t* scales;
  const uint8_t* supers;

  DEVICE WeightChain(const ProductArgs& args, const PackedLayout& layout, int tile, int chain, int lane) {
    const size_t slot = (static_cast<size_t>(tile) * kChains + chain) * layout.per_chain;
    quants = args.weights + (slot * kWarp + lane) * quant_bytes(kTraits);
    high = args.weights + layout.high + (slot * kWarp + lane) * high_bytes(kTraits);
    scales = args.weights + layout.scales + (slot * kTileRows + lane / 4) * scale_bytes(kTraits);
    supers = args.weights + layout.supers +
             (static_cast<size_t>(tile) * (layout.n_blocks / 8) * kTileRows + lane / 4) * super_bytes(kTraits);
  }

  DEVICE void load_quants(int i, WeightBlock& out) const {
    const uint8_t* from = quants + static_cast<size_t>(i) * kWarp * quant_bytes(kTraits);
    if constexpr (kTraits.bits == 8) {
      const uint4 v = load_stream(reinterpret_cast<const uint4*>(from));
      out.q[0] = v.x;
      out.q[1] = v.y;
      out.q[2] = v.z;
      out.q[3] = v.w;
      return;
    }
    const uint2 v = load_stream(reinterpret_cast<const uint2*>(from));
    const unsigned nibbles[4] = {v.x & 0x0f0f0f0fu, (v.x >> 4) & 0x0f0f0f0fu, v.y & 0x0f0f0f0fu,
                                 (v.y >> 4) & 0x0f0f0f0fu};
    uint32_t above = 0;
    const uint8_t* bits = high + static_cast<size_t>(i) * kWarp * high_bytes(kTraits);
    if constexpr (kTraits.bits == 5) above = *reinterpret_cast<const uint16_t*>(bits);
    if constexpr (kTraits.bits == 6) above = *reinterpret_cast<const uint32_t*>(bits);
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      unsigned q = nibbles[r];
      if constexpr (kTraits.bits == 5) q |= spread_bits((above >> (4 * r)) & 15u) << 4;
      if constexpr (kTraits.bits == 6) q |= ((above >> (2 * r)) & 0x03030303u) << 4;
      if constexpr (has_codes(kFormat)) {
        out.q[r] = coded_values<kFormat>(q);
      } else {
        out.q[r] = without_bias<kTraits.bias>(q);
      }
    }
  }

  DEVICE void load_scales(int i, WeightBlock& out) const {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const uint8_t* at = scales + (static_cast<size_t>(i) * kTileRows + 8 * r) * scale_bytes(kTraits);
      const uint8_t* super = supers + (static_cast<size_t>(i / 2) * kTileRows + 8 * r) * super_bytes(kTraits);
      if constexpr (kTraits.has_exponent) {
        out.d[r] = exponent_scale(at[0]);
      } else if constexpr (!kTraits.is_k) {
        out.d[r] = half_to_float(reinterpret_cast<const uint16_t*>(at)[0]);
        if constexpr (kTraits.has_minimum) out.m[r] = half_to_float(reinterpret_cast<const uint16_t*>(at)[1]);
      } else if constexpr (kTraits.has_minimum) {
        const auto* both = reinterpret_cast<const uint16_t*>(super);
        out.d[r] = half_to_float(both[0]) * static_cast<float>(at[0]);
        out.m[r] = -(half_to_float(both[1]) * static_cast<float>(at[1]));
      } else {
        out.d[r] = half_to_float(*reinterpret_cast<const uint16_t*>(super));
        out.half_scale[0][r] = static_cast<int8_t>(at[0]);
        out.half_scale[1][r] = static_cast<int8_t>(at[1]);
      }
    }
  }

  DEVICE WeightBlock load(int i) const {
    WeightBlock block;
    load_quants(i, block);
    load_scales(i, block);
    return block;
  }
};

/// The integer sums of a block with 8 columns of x.
template <int kFormat>
DEVICE void block_sums(const WeightBlock& w, const unsigned (&x)[2], int (&sum)[4]) {
  if constexpr (!traits_of(kFormat).has_half_scale) {
#pragma unroll
    for (int e = 0; e < 4; ++e) sum[e] = 0;
    multiply_add(sum, w.q, x);
  } else {
    int halves[2][4] = {};
    const unsigned first[4] = {w.q[0], w.q[1], 0, 0}, second[4] = {0, 0, w.q[2], w.q[3]};
    multiply_add(halves[0], first, x);
    multiply_add(halves[1], second, x);
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      sum[e] = halves[0][e] * w.half_scale[0][e / 2] + halves[1][e] * w.half_scale[1][e / 2];
    }
  }
}

/// Value `j` of 32 of a stored block, its bias still in; `sub` is the block's number under a K format's scale.
template <int kFormat>
DEVICE int stored_quant(const uint8_t* block, int sub, int j) {
  constexpr FormatTraits kTraits = traits_of(kFormat);
  if constexpr (kFormat == kQ8_0) return block[2 + j];
  if constexpr (kFormat == kQ4_K || kFormat == kQ5_K) {
    const int byte = block[(kFormat == kQ4_K ? 16 : 48) + sub / 2 * 32 + j];
    const int low = sub % 2 == 0 ? byte & 15 : byte >> 4;
    return kFormat == kQ4_K ? low : low | (((block[16 + j] >> sub) & 1) << 4);
  }
  if constexpr (kFormat == kQ6_K) {
    const int half = sub / 4, run = sub % 4;
    const int byte = block[half * 64 + (run % 2) * 32 + j];
    const int low = run < 2 ? byte & 15 : byte >> 4;
    return low | (((block[128 + half * 32 + j] >> (2 * run)) & 3) << 4);
  }
  constexpr int kHigh = kTraits.has_exponent ? 1 : kTraits.has_minimum ? 4 : 2;
  if constexpr (kFormat == kNF4) block += 16 * sub;
  constexpr int kNibbles = kHigh + (kTraits.bits == 5 ? 4 : 0);
  const int nibble = j < 16 ? block[kNibbles + j] & 15 : block[kNibbles + j - 16] >> 4;
  return kTraits.bits == 5 ? nibble | (((block[kHigh + j / 8] >> (j % 8)) & 1) << 4) : nibble;
}

/// Scale and minimum of sub-block j of Q4_K and Q5_K (quant.h's sub_scale).
DEVICE uint32_t sub_scales(const uint8_t* scales, int j) {
  if (j < 4) return (scales[j] & 63u) | ((scales[j + 4] & 63u) << 8);
  const uint32_t scale = (scales[j + 4] & 15u) | ((scales[j - 4] >> 6) << 4);
  const uint32_t minimum = (scales[j + 4] >> 4) | ((scales[j] >> 6) << 4);
  return scale | (minimum << 8);
}

}  // namespace commissure::cuda
