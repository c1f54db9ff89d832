#include "kernels/cuda/device/attention.cuh"

/// Attention over the paged cache, for decode and prefill alike. A block of four warps takes 16 queries of one sequence
/// and one kv head (queries of several rows and heads), and folds 64 positions at a time: each warp scores 16
/// positions, 8 threads a query turn scores into weights, each warp adds up a quarter of the dims. Four blocks make a
/// span that is folded apart; spans join in rising order, here or, where several items share a query's spans, in
/// attend_join. A query's bits follow from its own row and what it sees, whoever shares the instructions.
namespace commissure::cuda {

/// kWidth: the widest padded head that this instance takes.
template <typename Stored, int kWidth, bool kExact>
class Attend {
 public:
  using Value = typename Stored::Value;
  using A = Operand<kExact>;
  static constexpr int kDimTiles = kWidth / 8 / kAttendWarps;

  DEVICE Attend(const AttendArgs& args, AttendShared<kWidth, kExact>& shared)
      : args_(args), shared_(shared), item_(args.items[blockIdx.x]), width_(padded(args.kv.head_dim)) {
    lane_ = threadIdx.x % kWarp;
    warp_ = threadIdx.x / kWarp;
    own_ = threadIdx.x / 8;
    own_position_ = position_of(own_);
    own_end_ = own_position_ < 0 ? 0 : last_key(own_position_) + 1;
    const int n = item_.n_queries - item_.first_query < kQueries ? item_.n_queries - item_.first_query : kQueries;
    const int first_position = item_.first_position + item_.first_query / args.heads_per_kv;
    last_position_ = item_.first_position + (item_.first_query + n - 1) / args.heads_per_kv;
    first_seen_ = first_key(args.window, first_position);
    last_common_ = last_key(first_position);
    last_seen_ = last_key(last_position_);
  }

  DEVICE void run() {
    load_queries();
    clear(total_);
    float max = -infinity(), sum = 0.0f;
    for (int span = item_.first_span; span < item_.last_span; ++span) {
      fold_span(span);
      if (item_.partial >= 0) {
        put_partial(item_.partial + span - item_.first_span);
        continue;
      }
      const Join join = join_of(max, max_);
      sum = sum * join.keep + sum_ * join.weight;
      max = join.max;
      if (threadIdx.x % 8 == 0) {
        shared_.join_keep[own_] = join.keep;
        shared_.join_weight[own_] = join.weight;
      }
      __syncthreads();
#pragma unroll
      for (int i = 0; i < kDimTiles * 4; ++i) {
        const int query = lane_ / 4 + i % 4 / 2 * 8;
        float& total = total_[i / 4][i % 4];
        total = fmaf(part_[i / 4][i % 4], shared_.join_weight[query], total * shared_.join_keep[query]);
      }
    }
    if (item_.partial < 0) finish(with_sink(sum, max, args_.sinks, head_of(own_)));
  }

 private:
  DEVICE int position_of(int query) const {
    const int index = item_.first_query + query;
    return index < item_.n_queries ? item_.first_position + index / args_.heads_per_kv : -1;
  }
  /// Last position that a query sees.
  DEVICE int last_key(int position) const { return item_.seen_to > 0 ? item_.seen_to - 1 : position; }
  DEVICE int head_of(int query) const {
    return blockIdx.y * args_.heads_per_kv + (item_.first_query + query) % args_.heads_per_kv;
  }
  DEVICE size_t at(int query, int stride) const {
    const int row = item_.first_row + (item_.first_query + query) / args_.heads_per_kv;
    return static_cast<size_t>(row) * stride + head_of(query) * args_.kv.head_dim;
  }

  DEVICE void load_queries() {
    for (int i = threadIdx.x; i < kQueries * width_; i += kAttendThreads) {
      const int query = i / width_, dim = i % width_;
      const bool is_there = item_.first_query + query < item_.n_queries && dim < args_.kv.head_dim;
      shared_.q[operand_index(query, dim)] = A::of(is_there ? args_.q[at(query, args_.q_stride) + dim] : 0.0f);
    }
    __syncthreads();
  }

  DEVICE void clear(float (&sums)[kDimTiles][4]) {
#pragma unroll
    for (int i = 0; i < kDimTiles * 4; ++i) sums[i / 4][i % 4] = 0.0f;
  }

  DEVICE void fold_span(int span) {
    clear(part_);
    max_ = -infinity();
    sum_ = 0.0f;
    const int first = first_seen_ / kPositions, last = last_seen_ / kPositions;
    const int end = (span + 1) * kSpanBlocks <= last ? (span + 1) * kSpanBlocks : last + 1;
    for (int block = span * kSpanBlocks > first ? span * kSpanBlocks : first; block < end; ++block) {
      const size_t head_part =
          static_cast<size_t>(args_.blocks[item_.table + block]) * args_.kv.n_kv_heads + blockIdx.y;
      const uint8_t* data = args_.kv.data + head_part * args_.kv.head_bytes;
      score(reinterpret_cast<const Value*>(data));
      __syncthreads();
      const auto* scales = reinterpret_cast<const float*>(data + scales_at(width_));
      weigh(block, Stored::kHasScales ? scales : nullptr);
      __syncthreads();
      fold_values(block, reinterpret_cast<const Value*>(data) + static_cast<size_t>(kPositions) * width_);
    }
    __syncthreads();  // join factors and partials are read next to what the last fold still reads
  }

  /// Scores of the warp's 16 positions, also of those nobody wrote yet.
  DEVICE void score(const Value* keys) {
    float sums[2][4] = {};
#pragma unroll 1
    for (int step = 0; step < width_ / 16; ++step) {
      unsigned a[A::kPlanes][4];
      A::load(shared_.q + (step * kWarp + lane_) * 8, a);
#pragma unroll
      for (int t = 0; t < 2; ++t) {
        unsigned b[2];
        const int tile = 2 * warp_ + t;
        Stored::load(keys + ((tile * (width_ / 16) + step) * kWarp + lane_) * 4, b);
#pragma unroll
        for (int plane = 0; plane < A::kPlanes; ++plane) multiply_add(sums[t], a[plane], b);
      }
    }
#pragma unroll
    for (int t = 0; t < 2; ++t) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        shared_.scores[lane_ / 4 + e / 2 * 8][(2 * warp_ + t) * 8 + lane_ % 4 * 2 + e % 2] = sums[t][e];
      }
    }
  }

  /// A score in base 2 as the model's cap leaves it; tanh u is 1 - 2 / (1 + e^2u).
  DEVICE float capped(float score) const {
    if (args_.softcap == 0.0f) return score;
    const float highest = args_.softcap * 1.44269504f;
    return highest - (highest + highest) / (1.0f + exponential2(score * (2.0f / args_.softcap)));
  }

  /// A thread's eighth of its query's scores: weights against the new maximum; what the query does not see weighs 0.
  DEVICE void weigh(int block, const float* scales) {
    const int base = block * kPositions, eighth = threadIdx.x % 8;
    const int first = first_key(args_.window, own_position_) - base, last = own_end_ - base;
    const float scale = args_.scale * 1.44269504f;  // log2 e
    float s[8], block_max = -infinity();
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int slot = eighth + 8 * i;
      const float factor = scales == nullptr ? scale : scales[slot] * scale;
      const float scaled = capped(shared_.scores[own_][slot] * factor);
      s[i] = slot >= first && slot < last ? scaled : -infinity();
      block_max = larger(block_max, s[i]);
    }
    block_max = largest_of_8(block_max);
    const bool sees = own_position_ >= 0 && first < kPositions && last > 0;
    const float new_max = larger(max_, block_max), keep = sees ? exponential2(max_ - new_max) : 1.0f;
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int slot = eighth + 8 * i;
      const bool is_seen = slot >= first && slot < last;
      const float weight = is_seen ? exponential2(s[i] - new_max) : 0.0f;
      sum = sum + weight;
      float scaled = weight;
      if (scales != nullptr && is_seen) {
        scaled = weight * scales[kPositions + slot];
        if (scaled < smallest_normal()) scaled = 0.0f;
      }
      shared_.weights[operand_index(own_, slot)] = A::of(scaled);
    }
    sum_ = sum_ * keep + sum_of_8(sum);
    max_ = new_max;
    if (eighth == 0) shared_.keep[own_] = keep;
  }

  /// Of the lane's values in a step of 16 positions from `first` on: all bits of those within [low, high].
  struct Mask {
    unsigned of[2];
  };
  DEVICE Mask mask_of(int low, int high, int first) const {
    Mask mask = {};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int position = first + lane_ % 4 * 2 + i / 2 * 8 + i % 2;
      if (position >= low && position <= high) mask.of[i / 2] |= 0xffffu << (i % 2 * 16);
    }
    return mask;
  }

  /// The lane's values of a tile of eight dims in a step, zeros outside the mask.
  DEVICE void load_values(const Value* values, int tile, const Mask& mask, unsigned (&b)[2]) const {
    Stored::load(values + (tile * kWarp + lane_) * 4, b);
    b[0] &= mask.of[0];
    b[1] &= mask.of[1];
  }

  /// Whether the step from position `first` on holds an infinity or NaN that some of the item's queries see and others
  /// do not: with a weight of 0 it would be NaN.
  DEVICE bool parts_queries(const Value* values, int first) const {
    if constexpr (Stored::kHasScales) return false;
    const int last = first + 15, first_common = first_key(args_.window, last_position_);
    const bool is_before = first_seen_ < first_common && first < first_common && last >= first_seen_;
    const bool is_behind = last_common_ < last_seen_ && last > last_common_ && first <= last_seen_;
    if (!is_before && !is_behind) return false;
    Mask mask = mask_of(first_seen_, last_seen_, first);
    const Mask common = mask_of(first_common, last_common_, first);
#pragma unroll
    for (int i = 0; i < 2; ++i) mask.of[i] &= ~common.of[i] & 0x7f807f80u;  // exponents
    int n_odd = 0;
#pragma unroll 1
    for (int tile = warp_; tile * 8 < width_; tile += kAttendWarps) {
      unsigned b[2];
      load_values(values, tile, mask, b);
#pragma unroll
      for (int i = 0; i < 4; ++i) n_odd += (b[i / 2] >> (i % 2 * 16) & 0xffffu) == 0x7f80u ? 1 : 0;
    }
    return sum_of_warp(n_odd) != 0;
  }

  /// Adds up a step query by query, each with zeros in the place of what it does not see.
  DEVICE void fold_apart(const unsigned (&a)[A::kPlanes][4], const Value* values, int first) {
#pragma unroll 1
    for (int query = 0; query < kQueries; ++query) {
      const int position = position_of(query);
      if (position < 0) return;
      const Mask mask = mask_of(first_key(args_.window, position), last_key(position), first);
#pragma unroll
      for (int t = 0; t < kDimTiles; ++t) {
        const int tile = warp_ + t * kAttendWarps;
        if (tile * 8 >= width_) break;
        unsigned b[2];
        load_values(values, tile, mask, b);
        float sums[4] = {part_[t][0], part_[t][1], part_[t][2], part_[t][3]};
#pragma unroll
        for (int plane = 0; plane < A::kPlanes; ++plane) multiply_add(sums, a[plane], b);
#pragma unroll
        for (int e = 0; e < 4; ++e) part_[t][e] = lane_ / 4 + e / 2 * 8 == query ? sums[e] : part_[t][e];
      }
    }
  }

  /// Adds up the warp's dims: every fourth tile of eight. Values that none of the item's queries sees may be NaN.
  DEVICE void fold_values(int block, const Value* values) {
    const float keep[2] = {shared_.keep[lane_ / 4], shared_.keep[lane_ / 4 + 8]};
#pragma unroll
    for (int i = 0; i < kDimTiles * 4; ++i) part_[i / 4][i % 4] = part_[i / 4][i % 4] * keep[i % 4 / 2];
#pragma unroll 1
    for (int step = 0; step < kPositions / 16; ++step, values += 16 * width_) {
      const int first = block * kPositions + step * 16;
      unsigned a[A::kPlanes][4];
      A::load(shared_.weights + (step * kWarp + lane_) * 8, a);
      if (parts_queries(values, first)) {
        fold_apart(a, values, first);
        continue;
      }
      const bool is_whole = first_seen_ <= first && last_seen_ >= first + 15;
      const Mask mask = is_whole ? Mask{{~0u, ~0u}} : mask_of(first_seen_, last_seen_, first);
#pragma unroll
      for (int t = 0; t < kDimTiles; ++t) {
        const int tile = warp_ + t * kAttendWarps;
        if (tile * 8 >= width_) break;
        unsigned b[2];
        load_values(values, tile, mask, b);
#pragma unroll
        for (int plane = 0; plane < A::kPlanes; ++plane) multiply_add(part_[t], a[plane], b);
      }
    }
  }

  /// Calls f(query, dim, value) for what this thread has of the sums.
  template <typename F>
  DEVICE void each(const float (&sums)[kDimTiles][4], F f) const {
#pragma unroll
    for (int i = 0; i < kDimTiles * 4; ++i) {
      const int dim = (warp_ + i / 4 * kAttendWarps) * 8 + lane_ % 4 * 2 + i % 2;
      if (dim < width_) f(lane_ / 4 + i % 4 / 2 * 8, dim, sums[i / 4][i % 4]);
    }
  }

  DEVICE void put_partial(int partial) {
    const size_t stride = width_ + 2;
    float* to = args_.partials + (static_cast<size_t>(partial) * args_.kv.n_kv_heads + blockIdx.y) * kQueries * stride;
    each(part_, [&](int query, int dim, float value) { to[query * stride + dim] = value; });
    if (threadIdx.x % 8 == 0) {
      to[own_ * stride + width_] = max_;
      to[own_ * stride + width_ + 1] = sum_;
    }
  }

  DEVICE void finish(float sum) {
    if (threadIdx.x % 8 == 0) shared_.sum[own_] = sum;
    __syncthreads();
    each(total_, [&](int query, int dim, float value) {
      if (item_.first_query + query >= item_.n_queries || dim >= args_.kv.head_dim) return;
      args_.out[at(query, args_.out_stride) + dim] = value / shared_.sum[query];
    });
  }

  const AttendArgs& args_;
  AttendShared<kWidth, kExact>& shared_;
  const AttendItem item_;
  const int width_;
  int lane_, warp_;
  int own_;                     ///< the query whose softmax this thread works on, with seven others
  int own_position_, own_end_;  ///< its position (-1: there is no such query), and where what it sees ends
  int last_position_;           ///< of the item's queries
  int first_seen_, last_seen_;  ///< positions that any of the item's queries sees
  int last_common_;             ///< the last one that all of them may see: the first query's own
  float part_[kDimTiles][4], total_[kDimTiles][4];  ///< the span being folded, and the spans before
  float max_, sum_;                                 ///< of the own query over the span
};

template <typename Stored, int kWidth, bool kExact>
DEVICE void attend(const AttendArgs& args) {
  using Shared = AttendShared<kWidth, kExact>;
  SHARED(Shared, shared);
  Attend<Stored, kWidth, kExact>(args, shared).run();
}

#define ATTEND_KERNELS(width)                                                                         \
  KERNEL(AttendArgs, kAttendThreads, attend_bf16_##width) { attend<StoredBf16, width, false>(args); } \
  KERNEL(AttendArgs, kAttendThreads, attend_int8_##width) { attend<StoredInt8, width, false>(args); }
#define EXACT_ATTEND_KERNELS(width)                                                                          \
  KERNEL(AttendArgs, kAttendThreads, attend_bf16_##width##_exact) { attend<StoredBf16, width, true>(args); } \
  KERNEL(AttendArgs, kAttendThreads, attend_int8_##width##_exact) { attend<StoredInt8, width, true>(args); }

ATTEND_KERNELS(64)
ATTEND_KERNELS(128)
ATTEND_KERNELS(256)
ATTEND_KERNELS(512)
EXACT_ATTEND_KERNELS(128)
EXACT_ATTEND_KERNELS(512)

constexpr int kJoinThreads = 128;

/// A block of threads takes a tile of 16 queries and a kv head, a warp four of its queries.
KERNEL(JoinArgs, kJoinThreads, attend_join) {
  const AttendItem item = args.items[blockIdx.x];
  const int width = padded(args.head_dim), lane = threadIdx.x % kWarp;
  const size_t stride = width + 2;
  for (int query = threadIdx.x / kWarp; query < kQueries; query += kJoinThreads / kWarp) {
    const int index = item.first_query + query;
    if (index >= item.n_queries) return;
    const int head = blockIdx.y * args.heads_per_kv + index % args.heads_per_kv;
    const int row = item.first_row + index / args.heads_per_kv;
    float* out = args.out + static_cast<size_t>(row) * args.out_stride + head * args.head_dim;
    for (int dim = lane; dim < args.head_dim; dim += kWarp) {
      float max = -infinity(), sum = 0.0f, total = 0.0f;
      for (int span = item.first_span; span < item.last_span; ++span) {
        const size_t at = static_cast<size_t>(item.partial + span - item.first_span) * args.n_kv_heads + blockIdx.y;
        const float* part = args.partials + (at * kQueries + query) * stride;
        const Join join = join_of(max, part[width]);
        total = fmaf(part[dim], join.weight, total * join.keep);
        sum = sum * join.keep + part[width + 1] * join.weight;
        max = join.max;
      }
      out[dim] = total / with_sink(sum, max, args.sinks, head);
    }
  }
}

/// A block of threads a row and kv head: the key and value of one position, rounded to bf16, or to int8 with one step
/// each.
constexpr int kAppendThreads = 64;

struct AppendShared {
  float largest[kAppendThreads / kWarp];
  int is_bad;
};

/// The step between the int8 of `x`: 0 when all are next to nothing, NaN when one is not finite.
DEVICE float int8_step(const float* x, int n, AppendShared& shared) {
  if (threadIdx.x == 0) shared.is_bad = 0;
  __syncthreads();
  float largest = 0.0f;
  for (int i = threadIdx.x; i < n; i += kAppendThreads) {
    largest = larger(largest, x[i] < 0.0f ? -x[i] : x[i]);
    if (!(x[i] - x[i] == 0.0f)) shared.is_bad = 1;
  }
  largest = largest_of_warp(largest);
  if (threadIdx.x % kWarp == 0) shared.largest[threadIdx.x / kWarp] = largest;
  __syncthreads();
  const float step = larger(shared.largest[0], shared.largest[1]) / 127.0f;
  const bool is_bad = shared.is_bad != 0;
  __syncthreads();  // before the next call writes
  if (is_bad) return bits_to_float(0x7fc00000u);
  return step < smallest_normal() ? 0.0f : step;
}

DEVICE void round_to(float v, float, uint16_t& out) { out = float_to_bf16(v); }
DEVICE void round_to(float v, float inverse, int8_t& out) {
  out = static_cast<int8_t>(inverse > 0.0f ? to_int8(v * inverse) : 0);
}

template <typename Stored>
DEVICE void append(const AppendArgs& args, AppendShared& shared) {
  using Value = typename Stored::Value;
  const int row = blockIdx.x, head = blockIdx.y, dim = args.kv.head_dim, width = padded(dim);
  const int position = args.positions[row], slot = position % kPositions;
  const int block = args.blocks[args.tables[row] + position / kPositions];
  const size_t head_part = static_cast<size_t>(block) * args.kv.n_kv_heads + head;
  uint8_t* data = args.kv.data + head_part * args.kv.head_bytes;
  const float* key = args.keys + static_cast<size_t>(row) * args.key_stride + head * dim;
  const float* value = args.values + static_cast<size_t>(row) * args.value_stride + head * dim;
  float key_step = 1.0f, value_step = 1.0f;
  if constexpr (Stored::kHasScales) {
    key_step = int8_step(key, dim, shared);
    value_step = int8_step(value, dim, shared);
    auto* scales = reinterpret_cast<float*>(data + scales_at(width)) + slot;
    if (threadIdx.x == 0) {
      scales[0] = key_step;
      scales[kPositions] = value_step;
    }
  }
  auto* keys = reinterpret_cast<Value*>(data);
  auto* values = keys + static_cast<size_t>(kPositions) * width;
  const float key_inverse = key_step > 0.0f ? 1.0f / key_step : 0.0f;
  const float value_inverse = value_step > 0.0f ? 1.0f / value_step : 0.0f;
  for (int i = threadIdx.x; i < width; i += kAppendThreads) {
    round_to(i < dim ? key[i] : 0.0f, key_inverse, keys[key_index(slot, i, width)]);
    round_to(i < dim ? value[i] : 0.0f, value_inverse, values[value_index(slot, i, width)]);
  }
}

KERNEL(AppendArgs, kAppendThreads, append_bf16) {
  SHARED(AppendShared, shared);
  append<StoredBf16>(args, shared);
}
KERNEL(AppendArgs, kAppendThreads, append_int8) {
  SHARED(AppendShared, shared);
  append<StoredInt8>(args, shared);
}

}  // namespace commissure::cuda
