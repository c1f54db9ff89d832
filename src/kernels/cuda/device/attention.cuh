#pragma once

#include "kernels/cuda/device/numbers.cuh"

/// Where keys and values of the cache lie: in the order of the tensor cores' B operand, so that a lane's registers are
/// one load. `width` is head_dim in whole 16s, the rest zeros. One kv head's part of a block of 64 positions:
///   keys    [8 tiles of 8 positions][width / 16][32 lanes][4 values]: lane l has position l / 4 of its tile and dims
///           2 (l % 4), + 1, + 8, + 9 of its sixteen
///   values  [4 sixteens of positions][width / 8][32 lanes][4 values]: lane l has dim l / 4 of its eight and positions
///           2 (l % 4), + 1, + 8, + 9
///   scales  int8 only: f32 [64 keys], [64 values]
namespace commissure::cuda {

DEVICE int padded(int head_dim) { return (head_dim + 15) / 16 * 16; }

/// Of two coordinates within [0, 16), the one along the sum: which of its lane's quarter and which of its four values.
DEVICE int quarter_of(int k) { return k % 8 / 2; }
DEVICE int value_of(int k) { return k / 8 * 2 + k % 2; }

DEVICE int key_index(int slot, int dim, int width) {
  const int lane = slot % 8 * 4 + quarter_of(dim % 16);
  return ((slot / 8 * (width / 16) + dim / 16) * kWarp + lane) * 4 + value_of(dim % 16);
}

DEVICE int value_index(int slot, int dim, int width) {
  const int lane = dim % 8 * 4 + quarter_of(slot % 16);
  return ((slot / 16 * (width / 8) + dim / 8) * kWarp + lane) * 4 + value_of(slot % 16);
}

/// Stored as bf16, or as int8 whose scale waits outside of the products.
struct StoredBf16 {
  using Value = uint16_t;
  static constexpr bool kHasScales = false;
  DEVICE static void load(const Value* p, unsigned (&b)[2]) {
    const uint2 v = load_wide(reinterpret_cast<const uint2*>(p));
    b[0] = v.x;
    b[1] = v.y;
  }
};
struct StoredInt8 {
  using Value = int8_t;
  static constexpr bool kHasScales = true;
  DEVICE static void load(const Value* p, unsigned (&b)[2]) {
    const uint32_t v = load_wide(reinterpret_cast<const uint32_t*>(p));
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const auto low = static_cast<int8_t>(v >> (16 * i)), high = static_cast<int8_t>(v >> (16 * i + 8));
      b[i] = bf16_pair(static_cast<float>(low), static_cast<float>(high));
    }
  }
};

DEVICE size_t scales_at(int width) { return static_cast<size_t>(2 * kPositions) * width; }

/// The smallest normal float: smaller steps and weights of int8 values are 0.
DEVICE float smallest_normal() { return bits_to_float(0x00800000u); }

DEVICE int first_key(int window, int position) { return window > 0 && position >= window ? position - window + 1 : 0; }

/// Adds the result of a later span to what earlier ones gave: factors for both. A span that the query does not see has
/// the maximum -infinity and changes nothing.
struct Join {
  float keep, weight, max;
};
DEVICE Join join_of(float max, float part_max) {
  const float new_max = part_max > max ? part_max : max;
  if (new_max == -infinity()) return {1.0f, 0.0f, new_max};
  return {exponential2(max - new_max), exponential2(part_max - new_max), new_max};
}

/// The sum of a query's weights with its head's sink, if there is one. `max` is in base 2, as scores are.
DEVICE float with_sink(float sum, float max, const float* sinks, int head) {
  if (sinks == nullptr) return sum;
  return sum + exponential2(sinks[head] * 1.44269504f - max);  // log2 e
}

constexpr int kAttendThreads = 128;
constexpr int kAttendWarps = kAttendThreads / kWarp;

/// Queries and weights in the order of the A operand: as bf16, or, where they stay f32, as the f32 that three bf16 add
/// up to.
template <bool kExact>
struct Operand {
  using Value = uint16_t;
  static constexpr int kPlanes = 1;
  DEVICE static Value of(float v) { return float_to_bf16(v); }
  DEVICE static void load(const Value* p, unsigned (&a)[1][4]) {
    const uint4 v = load_wide(reinterpret_cast<const uint4*>(p));
    a[0][0] = v.x;
    a[0][1] = v.y;
    a[0][2] = v.z;
    a[0][3] = v.w;
  }
};
template <>
struct Operand<true> {
  using Value = float;
  static constexpr int kPlanes = 3;
  DEVICE static Value of(float v) { return v; }
  DEVICE static void load(const Value* p, unsigned (&a)[3][4]) {
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      float low = p[2 * r], high = p[2 * r + 1];
#pragma unroll
      for (int plane = 0; plane < 3; ++plane) {
        a[plane][r] = bf16_pair(low, high);
        low = low - bf16_to_float(a[plane][r] & 0xffff);
        high = high - bf16_to_float(a[plane][r] >> 16);
      }
    }
  }
};

/// Place of (query, k) in an A operand of sixteens of k: [k / 16][lane][8].
DEVICE int operand_index(int query, int k) {
  const int lane = query % 8 * 4 + quarter_of(k % 16);
  return (k / 16 * kWarp + lane) * 8 + k % 16 / 8 * 4 + query / 8 * 2 + k % 2;
}

constexpr int kScoreStride = kPositions + 4;

/// Aligned for the operands' loads of 16 bytes.
template <int kWidth, bool kExact>
struct alignas(16) AttendShared {
  typename Operand<kExact>::Value q[kWidth / 16 * kWarp * 8];
  typename Operand<kExact>::Value weights[kPositions / 16 * kWarp * 8];
  float scores[kQueries][kScoreStride];
  float keep[kQueries], join_keep[kQueries], join_weight[kQueries], sum[kQueries];
};

/// The largest of eight neighbouring threads' values, and their sum.
DEVICE float largest_of_8(float v) {
  for (int step = 4; step > 0; step /= 2) v = larger(v, __shfl_xor_sync(kAllLanes, v, step));
  return v;
}
DEVICE float sum_of_8(float v) {
  for (int step = 4; step > 0; step /= 2) v = v + __shfl_xor_sync(kAllLanes, v, step);
  return v;
}

}  // namespace commissure::cuda
