#pragma once

#include "kernels/cpu/attention.h"
#include "kernels/cpu/simd.h"

/// Folding one KV block into some queries, the inner loops of attention.cc. One head's part of a block, in the order
/// the loops read it:
///   keys    [head_dim / 2][64 positions][2 dims]: scores come out 16 positions per vector, without horizontal sums
///   values  [head_dim / 64][32 position pairs][64 dims][2 positions]; the last tile of dims may be narrower
/// So a 64-byte vector holds 16 pairs of bf16, and each pair meets two multipliers: two dims of a query, or the weights
/// of two positions.
///
/// Every query is folded by its own chain of operations: one sum per score over the pairs of dims in order, one sum per
/// output value over the pairs of positions in order; of a pair first the odd value's product is added, then the even
/// one's (what vdpbf16ps does). How many queries share a sweep (a tile of registers) changes no bit.
namespace commissure::cpu::COMMISSURE_ISA_NS {

// Queries and vectors per sweep: as many sums as there are registers for.
#if defined(__AVX512F__)
constexpr int kMaxQueries = 4, kMaxVectors = 4;
#elif defined(__AVX2__)
constexpr int kMaxQueries = 2, kMaxVectors = 2;
#else
constexpr int kMaxQueries = 1, kMaxVectors = 1;
#endif

constexpr int kPairRow = 2 * kBlockPositions;  // bf16 values of one pair of dims in the keys
constexpr int kTileDims = 64;                  // dims of a full tile of values

constexpr float kInfinity = __builtin_inff();

/// Multipliers in f32, rounded to bf16 beforehand or not.
struct Floats {
  using Multiplier = float;
  using Vector = Pairs;
  static Vector load(const std::uint16_t* p) { return load_pairs(p); }
  static f32x16 add(f32x16 acc, const Multiplier* m, const Vector& v) {
    return fma(set1(m[0]), v.first, fma(set1(m[1]), v.second, acc));
  }
  /// The pairs' even or odd values only, the others 0.
  static Vector even(const Vector& v) { return {v.first, set1(0.0f)}; }
  static Vector odd(const Vector& v) { return {set1(0.0f), v.second}; }
  static void put(Multiplier* to, f32x16 a, bool rounds) { store(to, rounds ? round_to_bf16(a) : a); }
};

#if defined(__AVX512BF16__)
/// Multipliers in bf16: the same bits as rounded Floats.
struct Halves {
  using Multiplier = std::uint16_t;
  using Vector = __m512i;
  static Vector load(const std::uint16_t* p) { return _mm512_loadu_si512(p); }
  static f32x16 add(f32x16 acc, const Multiplier* m, Vector v) {
    std::int32_t pair;
    __builtin_memcpy(&pair, m, sizeof pair);
    return {_mm512_dpbf16_ps(acc.v, (__m512bh)_mm512_set1_epi32(pair), (__m512bh)v)};
  }
  static Vector even(Vector v) { return _mm512_and_si512(v, _mm512_set1_epi32(0xffff)); }
  static Vector odd(Vector v) { return _mm512_andnot_si512(_mm512_set1_epi32(0xffff), v); }
  static void put(Multiplier* to, f32x16 a, bool) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), (__m256i)_mm512_cvtneps_pbh(a.v));
  }
};
#endif

/// Running softmax of one query in base 2; its weighted values stand elsewhere.
struct Softmax {
  float max, sum;
};

/// Queries that sweep over a block together.
template <typename Math>
struct Group {
  int n = 0;
  const typename Math::Multiplier* q[kMaxQueries];
  float* out[kMaxQueries];
  Softmax* state[kMaxQueries];
  float keep[kMaxQueries];  ///< what the new maximum leaves of everything folded before
  alignas(64) float scores[kMaxQueries][kBlockPositions];
  alignas(64) typename Math::Multiplier weights[kMaxQueries][kBlockPositions];
};

/// One head's part of a block, and the slots [first, last) of it that the group sees.
struct BlockPart {
  const std::uint16_t* data;
  const std::uint16_t* next;  ///< the part to be asked for while this one is read, or null
  int first, last;
};

inline int clamp(int x, int low, int high) { return x < low ? low : (x > high ? high : x); }

/// group.scores = q . k for all 64 positions, also for those nobody wrote yet.
template <typename Math, int kQueries>
void score(Group<Math>& group, const BlockPart& block, int head_dim) {
  for (int base = 0; base < kBlockPositions; base += kMaxVectors * kLanes) {
    f32x16 sums[kQueries][kMaxVectors];
#pragma GCC unroll 4
    for (int query = 0; query < kQueries; ++query) {
#pragma GCC unroll 4
      for (int v = 0; v < kMaxVectors; ++v) sums[query][v] = set1(0.0f);
    }
    for (int dim = 0; dim < head_dim; dim += 2) {
      const int at = dim / 2 * kPairRow + 2 * base;
#pragma GCC unroll 4
      for (int v = 0; v < kMaxVectors; ++v) {
        const auto k = Math::load(block.data + at + 2 * kLanes * v);
        if (block.next != nullptr) __builtin_prefetch(block.next + at + 2 * kLanes * v, 0, 2);
#pragma GCC unroll 4
        for (int query = 0; query < kQueries; ++query) {
          sums[query][v] = Math::add(sums[query][v], group.q[query] + dim, k);
        }
      }
    }
#pragma GCC unroll 4
    for (int query = 0; query < kQueries; ++query) {
#pragma GCC unroll 4
      for (int v = 0; v < kMaxVectors; ++v) store(group.scores[query] + base + v * kLanes, sums[query][v]);
    }
  }
}

/// Turns the queries' scores into weights against their new maxima; slots outside [first, last) weigh exactly 0.
///   scale  in base 2
template <typename Math, int kQueries>
void weigh(Group<Math>& group, float scale, const BlockPart& block, bool rounds) {
  constexpr int kVectors = kBlockPositions / kLanes;
  float new_max[kQueries];
  alignas(64) float fall[kLanes] = {};  // of what was folded before, one lane a query
#pragma GCC unroll 4
  for (int query = 0; query < kQueries; ++query) {
    f32x16 s[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) s[v] = load(group.scores[query] + v * kLanes) * set1(scale);
    if (block.first > 0 || block.last < kBlockPositions) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        // A select, not a product: an unwritten slot may score NaN.
        s[v] = select_first(clamp(block.last - v * kLanes, 0, kLanes), s[v], set1(-kInfinity));
        s[v] = select_first(clamp(block.first - v * kLanes, 0, kLanes), set1(-kInfinity), s[v]);
      }
    }
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) store(group.scores[query] + v * kLanes, s[v]);
    const float block_max = reduce_max(max(max(s[0], s[1]), max(s[2], s[3])));
    const float old_max = group.state[query]->max;
    new_max[query] = block_max > old_max ? block_max : old_max;
    fall[query] = old_max - new_max[query];
  }
  store(fall, exp2(load(fall)));  // 0 for the first block: exp2(-inf)
#pragma GCC unroll 4
  for (int query = 0; query < kQueries; ++query) {
    f32x16 s[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      s[v] = exp2(load(group.scores[query] + v * kLanes) - set1(new_max[query]));
      Math::put(group.weights[query] + v * kLanes, s[v], rounds);
    }
    Softmax& state = *group.state[query];
    group.keep[query] = fall[query];
    state.sum = state.sum * fall[query] + reduce_add((s[0] + s[1]) + (s[2] + s[3]));
    state.max = new_max[query];
  }
}

/// out = keep * out + weights . values for kVectors vectors of dims from `dim`.
///   at  of their first position pair in the block; pairs are `stride` bf16 values apart
template <typename Math, int kQueries, int kVectors>
void fold_dims(Group<Math>& group, const BlockPart& block, int at, int stride, int dim) {
  f32x16 sums[kQueries][kVectors];
#pragma GCC unroll 4
  for (int query = 0; query < kQueries; ++query) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      sums[query][v] = load(group.out[query] + dim + v * kLanes) * set1(group.keep[query]);
    }
  }
  const auto fold_pair = [&](int pair, auto part) __attribute__((always_inline)) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const int from = at + pair * stride + 2 * kLanes * v;
      const auto value = part(Math::load(block.data + from));
      if (block.next != nullptr) __builtin_prefetch(block.next + from, 0, 2);
#pragma GCC unroll 4
      for (int query = 0; query < kQueries; ++query) {
        sums[query][v] = Math::add(sums[query][v], group.weights[query] + 2 * pair, value);
      }
    }
  };
  // The outer half of a cut pair may be an unwritten slot: 0 times its value could be NaN.
  if (block.first % 2 != 0) fold_pair(block.first / 2, [](const auto& v) { return Math::odd(v); });
  for (int pair = (block.first + 1) / 2; pair < block.last / 2; ++pair) {
    fold_pair(pair, [](const auto& v) { return v; });
  }
  if (block.last % 2 != 0) fold_pair(block.last / 2, [](const auto& v) { return Math::even(v); });
#pragma GCC unroll 4
  for (int query = 0; query < kQueries; ++query) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) store(group.out[query] + dim + v * kLanes, sums[query][v]);
  }
}

template <typename Math, int kQueries>
void fold_values(Group<Math>& group, const BlockPart& block, int head_dim) {
  for (int tile = 0; tile < head_dim; tile += kTileDims) {
    const int width = clamp(head_dim - tile, 0, kTileDims);
    const int at = (head_dim + tile) * kBlockPositions;
    int dim = 0;
    for (; dim + kMaxVectors * kLanes <= width; dim += kMaxVectors * kLanes) {
      fold_dims<Math, kQueries, kMaxVectors>(group, block, at + 2 * dim, 2 * width, tile + dim);
    }
    for (; dim < width; dim += kLanes) {
      fold_dims<Math, kQueries, 1>(group, block, at + 2 * dim, 2 * width, tile + dim);
    }
  }
}

/// Folds a block into the group's queries, of which there are at most kQueries, and empties the group.
template <typename Math, int kQueries = kMaxQueries>
void fold(Group<Math>& group, const AttendItem& item, const BlockPart& block) {
  if (group.n == kQueries) {
    score<Math, kQueries>(group, block, item.head_dim);
    weigh<Math, kQueries>(group, item.scale * 1.44269504f, block, item.rounds);  // log2 e
    fold_values<Math, kQueries>(group, block, item.head_dim);
  } else if constexpr (kQueries > 1) {
    fold<Math, kQueries - 1>(group, item, block);
  }
  group.n = 0;
}

}  // namespace commissure::cpu::COMMISSURE_ISA_NS
