#pragma once

#include "kernels/cpu/attention/attention.h"
#include "kernels/cpu/isa/simd.h"

/// Folding one KV block into some queries, the inner loops of attention.cc. One head's part of a block, in the order
/// the loops read it:
///   keys    [width / 2][64 positions][2 dims]: scores come out 16 positions per vector, without horizontal sums
///   values  [width / 64][32 position pairs][64 dims][2 positions]; the last tile of dims may be narrower
///   scales  int8 only: f32 [64 keys], [64 values]
/// The width is head_dim in whole vectors, the rest zeros. So a vector holds 16 pairs, and each pair meets two
/// multipliers: two dims of a query, or the weights of two positions. An int8 is exact in bf16 as in f32: it is widened
/// on its way to the products, or once for all queries of a block when they are many, and its scale waits outside of
/// them, where scores become weights.
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

constexpr int kPairRow = 2 * kBlockPositions;  // values of one pair of dims in the keys
constexpr int kTileDims = 64;                  // dims of a full tile of values

constexpr float kInfinity = __builtin_inff();

/// How a value is stored: bf16, or int8 with a scale.
template <typename Stored>
constexpr bool has_scales = sizeof(Stored) == 1;

/// Values that widen() takes at once.
constexpr int kPairValues = 2 * kLanes;

/// Multipliers in f32, rounded to bf16 beforehand or not.
template <typename StoredAs>
struct Floats {
  using Stored = StoredAs;
  using Multiplier = float;
  using Vector = Pairs;
  using Wide = Floats<std::uint16_t>;
  static void widen(const Stored* from, std::uint16_t* to) { store_pairs(to, load_pairs(from)); }
  static Vector load(const Stored* p) { return load_pairs(p); }
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
template <typename StoredAs>
struct Halves {
  using Stored = StoredAs;
  using Multiplier = std::uint16_t;
  using Vector = __m512i;
  using Wide = Halves<std::uint16_t>;  ///< the same products from int8 as bf16
  static void widen(const Stored* from, std::uint16_t* to) { _mm512_storeu_si512(to, load(from)); }
  static Vector load(const std::uint16_t* p) { return _mm512_loadu_si512(p); }
  static Vector load(const std::int8_t* p) {
    const Pairs pairs = load_pairs(p);  // whole numbers up to 127: nothing in the lower halves
    return _mm512_or_si512(_mm512_srli_epi32(_mm512_castps_si512(pairs.first.v), 16),
                           _mm512_castps_si512(pairs.second.v));
  }
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
template <typename Multiplier>
struct Group {
  int n = 0;
  const Multiplier* q[kMaxQueries];
  float* out[kMaxQueries];
  Softmax* state[kMaxQueries];
  float keep[kMaxQueries];  ///< what the new maximum leaves of everything folded before
  alignas(64) float scores[kMaxQueries][kBlockPositions];
  alignas(64) Multiplier weights[kMaxQueries][kBlockPositions];
};

/// One head's part of a block, and the slots [first, last) of it that the group sees.
template <typename Stored>
struct BlockPart {
  const Stored* data;
  const Stored* next;   ///< the part to be asked for while this one is read, or null
  const float* scales;  ///< of the keys, kBlockPositions before those of the values; null: all are 1
  int first, last;
};

inline int clamp(int x, int low, int high) { return x < low ? low : (x > high ? high : x); }

/// group.scores = q . k for all 64 positions, also for those nobody wrote yet.
template <typename Math, int kQueries>
void score(Group<typename Math::Multiplier>& group, const BlockPart<typename Math::Stored>& block, int head_dim) {
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

/// What 16 scores are multiplied with, in base 2; `scales` of their keys, or null.
inline f32x16 score_scale(float scale, const float* scales) {
  return scales == nullptr ? set1(scale) : load(scales) * set1(scale);
}

/// Leaves capped scores, in base 2 and with nothing left to multiply them with. A row of its own, so that models
/// without a cap pay for one comparison a block.
[[gnu::noinline]] inline void cap_scores(float* scores, float scale, const float* scales, float cap) {
  const f32x16 highest = set1(cap * 1.44269504f), doubled = highest + highest, inverse = set1(2.0f / cap);
  for (int i = 0; i < kBlockPositions; i += kLanes) {
    const f32x16 s = load(scores + i) * score_scale(scale, scales == nullptr ? nullptr : scales + i);
    store(scores + i, highest - doubled / (set1(1.0f) + exp2(s * inverse)));  // tanh u is 1 - 2 / (1 + e^2u)
  }
}

/// What 16 weights from `slot` on multiply the stored values with. A slot out of the row's sight may have any scale,
/// and what is too small for a normal float is 0, for which vdpbf16ps takes it.
template <typename Stored>
f32x16 scaled_weights(f32x16 weights, const BlockPart<Stored>& block, int slot) {
  if (block.scales == nullptr) return weights;
  f32x16 w = weights * load(block.scales + kBlockPositions + slot);
  w = select_less(w, set1(kSmallestNormal), set1(0.0f), w);
  w = select_first(clamp(block.last - slot, 0, kLanes), w, set1(0.0f));
  return select_first(clamp(block.first - slot, 0, kLanes), set1(0.0f), w);
}

/// Turns the queries' scores into weights against their new maxima; slots outside [first, last) weigh exactly 0.
template <typename Math, int kQueries>
void weigh(Group<typename Math::Multiplier>& group, const AttendItem& item,
           const BlockPart<typename Math::Stored>& block) {
  constexpr int kVectors = kBlockPositions / kLanes;
  const float scale = item.softcap > 0.0f ? 1.0f : item.scale * 1.44269504f;  // log2 e
  const float* key_scales = item.softcap > 0.0f ? nullptr : block.scales;
  float new_max[kQueries];
  alignas(64) float fall[kLanes] = {};  // of what was folded before, one lane a query
#pragma GCC unroll 4
  for (int query = 0; query < kQueries; ++query) {
    f32x16 s[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const float* scales = key_scales == nullptr ? nullptr : key_scales + v * kLanes;
      s[v] = load(group.scores[query] + v * kLanes) * score_scale(scale, scales);
    }
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
      Math::put(group.weights[query] + v * kLanes, scaled_weights(s[v], block, v * kLanes), item.rounds);
    }
    Softmax& state = *group.state[query];
    group.keep[query] = fall[query];
    state.sum = state.sum * fall[query] + reduce_add((s[0] + s[1]) + (s[2] + s[3]));
    state.max = new_max[query];
  }
}

/// out = keep * out + weights . values for kVectors vectors of dims from `dim`.
///   at  of their first position pair in the block; pairs are `stride` values apart
template <typename Math, int kQueries, int kVectors>
void fold_dims(Group<typename Math::Multiplier>& group, const BlockPart<typename Math::Stored>& block, int at,
               int stride, int dim) {
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
void fold_values(Group<typename Math::Multiplier>& group, const BlockPart<typename Math::Stored>& block, int width) {
  for (int tile = 0; tile < width; tile += kTileDims) {
    const int n_dims = clamp(width - tile, 0, kTileDims);
    const int at = (width + tile) * kBlockPositions;
    int dim = 0;
    for (; dim + kMaxVectors * kLanes <= n_dims; dim += kMaxVectors * kLanes) {
      fold_dims<Math, kQueries, kMaxVectors>(group, block, at + 2 * dim, 2 * n_dims, tile + dim);
    }
    for (; dim < n_dims; dim += kLanes) {
      fold_dims<Math, kQueries, 1>(group, block, at + 2 * dim, 2 * n_dims, tile + dim);
    }
  }
}

/// Folds a block into the group's queries, of which there are at most kQueries, and empties the group.
template <typename Math, int kQueries = kMaxQueries>
void fold(Group<typename Math::Multiplier>& group, const AttendItem& item,
          const BlockPart<typename Math::Stored>& block) {
  if (group.n == kQueries) {
    score<Math, kQueries>(group, block, item.head_dim);
    for (int query = 0; item.softcap > 0.0f && query < kQueries; ++query) {
      cap_scores(group.scores[query], item.scale * 1.44269504f, block.scales, item.softcap);
    }
    weigh<Math, kQueries>(group, item, block);
    fold_values<Math, kQueries>(group, block, padded_head_dim(item.head_dim));
  } else if constexpr (kQueries > 1) {
    fold<Math, kQueries - 1>(group, item, block);
  }
  group.n = 0;
}

}  // namespace commissure::cpu::COMMISSURE_ISA_NS
