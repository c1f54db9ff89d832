#include "kernels/cpu/attention.h"

#include "kernels/cpu/simd.h"

/// Attention over KV blocks, compiled once per ISA. One head's part of a block, in the order the loops read it:
///   keys    [head_dim / 2][64 positions][2 dims]: scores come out 16 positions per vector, without horizontal sums
///   values  [head_dim / 64][32 position pairs][64 dims][2 positions]; the last tile of dims may be narrower
/// A 64-byte vector holds 16 pairs of bf16, and a shift and a mask widen it to two f32 vectors.
///
/// Every query is folded by its own chain of operations: one sum per score over the dims in order, one sum per output
/// value over the positions in order. How many queries share a sweep (a tile of registers) changes no bit.
namespace commissure::cpu::COMMISSURE_ISA_NS {

namespace {

// Queries and vectors per sweep: as many sums as there are registers for. Four vectors read a block as one linear
// stream, which counts for more than sharing it: 16 registers hold the sums of one query only.
#if defined(__AVX512F__)
constexpr int kMaxQueries = 4;
#else
constexpr int kMaxQueries = 1;
#endif
#if defined(__AVX2__)
constexpr int kMaxVectors = 4;
#else
constexpr int kMaxVectors = 1;
#endif

constexpr int kPairRow = 2 * kBlockPositions;  // bf16 values of one pair of dims in the keys
constexpr int kTileDims = 64;                  // dims of a full tile of values
constexpr int kMaxHeads = 16;                  // query heads whose softmax state is kept at a time

const float kInfinity = __builtin_inff();

/// Running softmax of one query; its weighted values stand in the output row.
struct Softmax {
  float max, sum;
};

/// Queries that sweep over a block together.
struct Group {
  int n = 0;
  const float* q[kMaxQueries];
  float* out[kMaxQueries];
  Softmax* state[kMaxQueries];
  float keep[kMaxQueries];  ///< what the new maximum leaves of everything folded before
  float weights[kMaxQueries][kBlockPositions];
};

int clamp(int x, int low, int high) { return x < low ? low : (x > high ? high : x); }

/// group.weights = q . k for all 64 positions, also for those nobody wrote yet.
template <int kQueries>
void score(Group& group, const std::uint16_t* keys, int head_dim) {
  for (int base = 0; base < kBlockPositions; base += kMaxVectors * kLanes) {
    f32x16 sums[kQueries][kMaxVectors];
#pragma GCC unroll 4
    for (int query = 0; query < kQueries; ++query) {
#pragma GCC unroll 4
      for (int v = 0; v < kMaxVectors; ++v) sums[query][v] = set1(0.0f);
    }
    const std::uint16_t* pair_row = keys + 2 * base;
    for (int dim = 0; dim < head_dim; dim += 2, pair_row += kPairRow) {
#pragma GCC unroll 4
      for (int v = 0; v < kMaxVectors; ++v) {
        const Pairs k = load_pairs(pair_row + 2 * kLanes * v);
#pragma GCC unroll 4
        for (int query = 0; query < kQueries; ++query) {
          sums[query][v] = fma(set1(group.q[query][dim]), k.first, sums[query][v]);
          sums[query][v] = fma(set1(group.q[query][dim + 1]), k.second, sums[query][v]);
        }
      }
    }
#pragma GCC unroll 4
    for (int query = 0; query < kQueries; ++query) {
#pragma GCC unroll 4
      for (int v = 0; v < kMaxVectors; ++v) store(group.weights[query] + base + v * kLanes, sums[query][v]);
    }
  }
}

/// Turns one query's scores into weights against its new maximum; slots outside [first, last) weigh exactly 0.
void weigh(Group& group, int query, float scale, int first, int last) {
  constexpr int kVectors = kBlockPositions / kLanes;
  float* weights = group.weights[query];
  Softmax& state = *group.state[query];
  f32x16 s[kVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    s[v] = load(weights + v * kLanes) * set1(scale);
    // A select, not a product: an unwritten slot may score NaN.
    s[v] = select_first(clamp(last - v * kLanes, 0, kLanes), s[v], set1(-kInfinity));
    s[v] = select_first(clamp(first - v * kLanes, 0, kLanes), set1(-kInfinity), s[v]);
  }
  const float block_max = reduce_max(max(max(s[0], s[1]), max(s[2], s[3])));
  const float new_max = block_max > state.max ? block_max : state.max;
  float keep[kLanes];
  store(keep, exp(set1(state.max - new_max)));  // 0 for the first block: exp(-inf)
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    s[v] = exp(s[v] - set1(new_max));
    store(weights + v * kLanes, s[v]);
  }
  group.keep[query] = keep[0];
  state.sum = state.sum * keep[0] + reduce_add((s[0] + s[1]) + (s[2] + s[3]));
  state.max = new_max;
}

/// out = keep * out + weights . values for kVectors vectors of dims from `dim`, slots [first, last).
///   values  their first position pair, pairs `stride` bf16 values apart
template <int kQueries, int kVectors>
void fold_dims(Group& group, const std::uint16_t* values, int stride, int dim, int first, int last) {
  f32x16 sums[kQueries][kVectors];
#pragma GCC unroll 4
  for (int query = 0; query < kQueries; ++query) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      sums[query][v] = load(group.out[query] + dim + v * kLanes) * set1(group.keep[query]);
    }
  }
  const auto fold_pair = [&](int pair, bool has_first, bool has_second) __attribute__((always_inline)) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const Pairs value = load_pairs(values + pair * stride + 2 * kLanes * v);
#pragma GCC unroll 4
      for (int query = 0; query < kQueries; ++query) {
        const float* weights = group.weights[query] + 2 * pair;
        if (has_first) sums[query][v] = fma(set1(weights[0]), value.first, sums[query][v]);
        if (has_second) sums[query][v] = fma(set1(weights[1]), value.second, sums[query][v]);
      }
    }
  };
  // The outer half of a cut pair may be an unwritten slot: 0 times its value could be NaN.
  if (first % 2 != 0) fold_pair(first / 2, false, true);
  for (int pair = (first + 1) / 2; pair < last / 2; ++pair) fold_pair(pair, true, true);
  if (last % 2 != 0) fold_pair(last / 2, true, false);
#pragma GCC unroll 4
  for (int query = 0; query < kQueries; ++query) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) store(group.out[query] + dim + v * kLanes, sums[query][v]);
  }
}

template <int kQueries>
void fold_values(Group& group, const std::uint16_t* values, int head_dim, int first, int last) {
  for (int tile = 0; tile < head_dim; tile += kTileDims) {
    const int width = clamp(head_dim - tile, 0, kTileDims);
    const std::uint16_t* tile_values = values + static_cast<std::ptrdiff_t>(tile) * kBlockPositions;
    int dim = 0;
    for (; dim + kMaxVectors * kLanes <= width; dim += kMaxVectors * kLanes) {
      fold_dims<kQueries, kMaxVectors>(group, tile_values + 2 * dim, 2 * width, tile + dim, first, last);
    }
    for (; dim < width; dim += kLanes) {
      fold_dims<kQueries, 1>(group, tile_values + 2 * dim, 2 * width, tile + dim, first, last);
    }
  }
}

template <int kQueries>
void fold_queries(Group& group, const AttendItem& item, const std::uint16_t* block, int first, int last) {
  score<kQueries>(group, block, item.head_dim);
  for (int query = 0; query < kQueries; ++query) weigh(group, query, item.scale, first, last);
  fold_values<kQueries>(group, block + item.head_dim * kBlockPositions, item.head_dim, first, last);
}

/// Folds slots [first, last) of a block into the group's queries, of which there are at most kQueries, and empties it.
template <int kQueries = kMaxQueries>
void fold(Group& group, const AttendItem& item, const std::uint16_t* block, int first, int last) {
  if (group.n == kQueries) {
    fold_queries<kQueries>(group, item, block, first, last);
  } else if constexpr (kQueries > 1) {
    fold<kQueries - 1>(group, item, block, first, last);
  }
  group.n = 0;
}

/// Query heads [first_head, first_head + n_heads) of the item's rows.
class Queries {
 public:
  Queries(const AttendItem& item, int first_head, int n_heads)
      : item_(item), first_head_(first_head), n_heads_(n_heads) {
    for (int row = 0; row < item.n_rows; ++row) {
      for (int head = 0; head < n_heads; ++head) {
        states_[row][head] = {-kInfinity, 0.0f};
        for (int i = 0; i < item.head_dim; i += kLanes) store(out(row, head) + i, set1(0.0f));
      }
    }
  }

  /// Folds one block into every row that sees part of it.
  void fold_block(int block) {
    const std::uint16_t* data = item_.cache + static_cast<std::size_t>(item_.blocks[block]) * item_.block_stride;
    Group whole;  // queries of any rows, as long as they see all of the block
    for (int row = 0; row < item_.n_rows; ++row) {
      const int position = item_.first_position + row;
      const int base = block * kBlockPositions;
      const int first = clamp(first_key(position) - base, 0, kBlockPositions);
      const int last = clamp(position + 1 - base, 0, kBlockPositions);
      if (first >= last) continue;
      if (first == 0 && last == kBlockPositions) {
        add_row(whole, row, data, first, last);
      } else {
        Group cut;
        add_row(cut, row, data, first, last);
        fold(cut, item_, data, first, last);
      }
    }
    fold(whole, item_, data, 0, kBlockPositions);
  }

  void finish() {
    for (int row = 0; row < item_.n_rows; ++row) {
      for (int head = 0; head < n_heads_; ++head) {
        const f32x16 sum = set1(states_[row][head].sum);
        float* values = out(row, head);
        for (int i = 0; i < item_.head_dim; i += kLanes) store(values + i, load(values + i) / sum);
      }
    }
  }

  /// First position a query at `position` sees.
  int first_key(int position) const {
    return item_.window > 0 && position >= item_.window ? position - item_.window + 1 : 0;
  }

 private:
  float* out(int row, int head) const {
    return item_.out + static_cast<std::ptrdiff_t>(row) * item_.out_stride + (first_head_ + head) * item_.head_dim;
  }

  void add_row(Group& group, int row, const std::uint16_t* data, int first, int last) {
    for (int head = 0; head < n_heads_; ++head) {
      const int i = group.n++;
      group.q[i] = item_.q + static_cast<std::ptrdiff_t>(row) * item_.q_stride + (first_head_ + head) * item_.head_dim;
      group.out[i] = out(row, head);
      group.state[i] = &states_[row][head];
      if (group.n == kMaxQueries) fold(group, item_, data, first, last);
    }
  }

  const AttendItem& item_;
  int first_head_, n_heads_;
  Softmax states_[kMaxItemRows][kMaxHeads];
};

void attend(const AttendItem& item) {
  for (int head = 0; head < item.n_heads; head += kMaxHeads) {
    Queries queries(item, head, clamp(item.n_heads - head, 0, kMaxHeads));
    const int last_block = (item.first_position + item.n_rows - 1) / kBlockPositions;
    for (int block = queries.first_key(item.first_position) / kBlockPositions; block <= last_block; ++block) {
      queries.fold_block(block);
    }
    queries.finish();
  }
}

void append(std::uint16_t* head_block, int slot, const float* key, const float* value, int head_dim) {
  std::uint16_t* keys = head_block + 2 * slot;
  std::uint16_t* values = head_block + head_dim * kBlockPositions;
  for (int dim = 0; dim < head_dim; dim += kLanes) {
    std::uint16_t k[kLanes], v[kLanes];
    store_bf16(k, load(key + dim));
    store_bf16(v, load(value + dim));
    const int tile = dim / kTileDims * kTileDims;
    const int width = clamp(head_dim - tile, 0, kTileDims);
    std::uint16_t* pair = values + tile * kBlockPositions + (slot / 2) * 2 * width + 2 * (dim - tile) + slot % 2;
    for (int i = 0; i < kLanes; i += 2) __builtin_memcpy(keys + (dim + i) / 2 * kPairRow, k + i, 2 * sizeof k[0]);
    for (int i = 0; i < kLanes; ++i) pair[2 * i] = v[i];
  }
}

}  // namespace

const AttentionKernels kAttention = {append, attend};

}  // namespace commissure::cpu::COMMISSURE_ISA_NS
