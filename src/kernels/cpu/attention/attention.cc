#include "kernels/cpu/attention/attention.h"

#include "kernels/cpu/attention/attention_fold.h"
#include "kernels/cpu/isa/simd.h"

/// Attention over KV blocks, compiled once per ISA, and once more for CPUs that have vdpbf16ps; attention_fold.h has
/// the layout of a block and the arithmetic. Generic x86-64 gives other low bits than AVX2 and AVX-512, which agree.
namespace commissure::cpu::COMMISSURE_ISA_NS {

namespace {

int row_first_span(const AttendItem& item, int row) {
  return first_key(item.window, item.first_position + row) / kSpanPositions;
}

int row_last_span(const AttendItem& item, int row) { return last_key(item, row) / kSpanPositions; }

float* out_of(const AttendItem& item, int row, int head) {
  return item.out + static_cast<std::ptrdiff_t>(row) * item.out_stride + head * item.head_dim;
}

const float* sink_of(const AttendItem& item, int head) { return item.sinks == nullptr ? nullptr : item.sinks + head; }

float* partial_of(const AttendItem& item, int span, int query) {
  const int index = (span - item.first_span) * item.n_rows * item.n_heads + query;
  return item.partials + static_cast<std::ptrdiff_t>(index) * partial_size(item.head_dim);
}

/// The 16 values from `p` on of which the first n belong to a head, then zeros.
f32x16 load_head(const float* p, int n) { return n >= kLanes ? load(p) : load_partial(p, n); }

/// Adds the result of a later span, `part`, to `sums`.
void join(float* sums, Softmax& state, const float* part, Softmax part_state, int width) {
  const float new_max = part_state.max > state.max ? part_state.max : state.max;
  const f32x16 keep = exp2(set1(state.max - new_max)), weight = exp2(set1(part_state.max - new_max));
  for (int i = 0; i < width; i += kLanes) store(sums + i, fma(load(part + i), weight, load(sums + i) * keep));
  state.sum = state.sum * first_lane(keep) + part_state.sum * first_lane(weight);
  state.max = new_max;
}

/// `out`, which may be `sums`, is head_dim floats and no more. `sink`, or null: a last score, without a value.
void finish(const float* sums, Softmax state, const float* sink, int head_dim, float* out) {
  if (sink != nullptr) {
    alignas(64) float above[kLanes] = {*sink * 1.44269504f - state.max};  // log2 e
    state.sum += first_lane(exp2(load(above)));
  }
  int i = 0;
  for (; i + kLanes <= head_dim; i += kLanes) store(out + i, load(sums + i) / set1(state.sum));
  if (i < head_dim) store_partial(out + i, load(sums + i) / set1(state.sum), head_dim - i);
}

/// The queries of an item on their way over its spans.
template <typename Math>
class Queries {
 public:
  Queries(const AttendItem& item, float* scratch) : item_(item), width_(padded_head_dim(item.head_dim)) {
    const std::ptrdiff_t queries = static_cast<std::ptrdiff_t>(kMaxItemQueries) * width_;
    auto* q = reinterpret_cast<typename Math::Multiplier*>(scratch);
    parts_ = scratch + queries;
    sums_ = width_ == item.head_dim ? nullptr : parts_ + queries;
    wide_ = reinterpret_cast<std::uint16_t*>(parts_ + (sums_ == nullptr ? 1 : 2) * queries);
    for (int row = 0; row < item.n_rows; ++row) {
      for (int head = 0; head < item.n_heads; ++head, q += width_) {
        const float* from = item.q + static_cast<std::ptrdiff_t>(row) * item.q_stride + head * item.head_dim;
        for (int i = 0; i < width_; i += kLanes) Math::put(q + i, load_head(from + i, item.head_dim - i), item.rounds);
        q_[row * item.n_heads + head] = q;
      }
    }
  }

  void fold_span(int span) {
    begin(span);
    const int first = first_key(item_.window, item_.first_position) / kBlockPositions;
    const int last = last_key(item_, item_.n_rows - 1) / kBlockPositions;
    const int end = (span + 1) * kSpanBlocks <= last ? (span + 1) * kSpanBlocks : last + 1;
    for (int block = span * kSpanBlocks > first ? span * kSpanBlocks : first; block < end; ++block) {
      const bool is_last = block == last || block + 1 == item_.last_span * kSpanBlocks;
      next_ = is_last ? reinterpret_cast<const Stored*>(item_.next) : data_of(block + 1);
      fold_block(block);
    }
    end_span(span);
  }

  void finish_rows() {
    for (int row = 0; row < item_.n_rows; ++row) {
      for (int head = 0; head < item_.n_heads; ++head) {
        finish(sums_of(row, head), states_[row * item_.n_heads + head], sink_of(item_, head), item_.head_dim,
               out_of(item_, row, head));
      }
    }
  }

 private:
  /// Where a query's spans come together.
  float* sums_of(int row, int head) const {
    if (sums_ == nullptr) return out_of(item_, row, head);
    return sums_ + static_cast<std::ptrdiff_t>(row * item_.n_heads + head) * width_;
  }

  using Stored = typename Math::Stored;
  using Multipliers = Group<typename Math::Multiplier>;

  const Stored* data_of(int block) const {
    return reinterpret_cast<const Stored*>(item_.cache +
                                           static_cast<std::size_t>(item_.blocks[block]) * item_.block_stride);
  }

  bool sees(int row, int span) const { return span >= row_first_span(item_, row) && span <= row_last_span(item_, row); }

  /// Chooses where each query's result over the span goes: a row's first one straight to its output.
  void begin(int span) {
    for (int row = 0; row < item_.n_rows; ++row) {
      const bool is_first = item_.partials == nullptr && span == row_first_span(item_, row);
      for (int head = 0; head < item_.n_heads; ++head) {
        const int query = row * item_.n_heads + head;
        if (!sees(row, span)) continue;
        to_[query] = item_.partials != nullptr ? partial_of(item_, span, query)
                     : is_first                ? sums_of(row, head)
                                               : parts_ + static_cast<std::ptrdiff_t>(query) * width_;
        to_state_[query] = is_first ? &states_[query] : &part_states_[query];
        *to_state_[query] = {-kInfinity, 0.0f};
        for (int i = 0; i < width_; i += kLanes) store(to_[query] + i, set1(0.0f));
      }
    }
  }

  /// Folds one block into every row that sees part of it.
  void fold_block(int block) {
    const Stored* data = data_of(block);
    const float* scales = nullptr;
    if constexpr (has_scales<Stored>) {
      scales = reinterpret_cast<const float*>(data + scales_offset(width_));
      if (item_.n_rows * item_.n_heads > kMaxQueries)
        return fold_rows<typename Math::Wide>(widened(data), scales, block);
    }
    fold_rows<Math>(data, scales, block);
  }

  /// The keys and values of a block as bf16: many queries share the work.
  const std::uint16_t* widened(const Stored* data) {
    for (int i = 0; i < 2 * kBlockPositions * width_; i += kPairValues) {
      if (next_ != nullptr) __builtin_prefetch(next_ + i, 0, 2);
      Math::widen(data + i, wide_ + i);
    }
    next_ = nullptr;
    return wide_;
  }

  template <typename With, typename Values>
  void fold_rows(const Values* data, const float* scales, int block) {
    Multipliers whole;  // queries of any rows, as long as they see all of the block
    for (int row = 0; row < item_.n_rows; ++row) {
      const int position = item_.first_position + row, base = block * kBlockPositions;
      const BlockPart<Values> part = {data, nullptr, scales,
                                      clamp(first_key(item_.window, position) - base, 0, kBlockPositions),
                                      clamp(last_key(item_, row) + 1 - base, 0, kBlockPositions)};
      if (part.first >= part.last) continue;
      if (part.first == 0 && part.last == kBlockPositions) {
        add_row<With>(whole, row, part);
      } else {
        Multipliers cut;
        add_row<With>(cut, row, part);
        fold_group<With>(cut, part);
      }
    }
    fold_group<With>(whole, BlockPart<Values>{data, nullptr, scales, 0, kBlockPositions});
  }

  template <typename With, typename Values>
  void fold_group(Multipliers& group, BlockPart<Values> block) {
    if (group.n == 0) return;
    if constexpr (sizeof(Values) == sizeof(Stored)) block.next = next_;
    next_ = nullptr;  // once is enough
    fold<With>(group, item_, block);
  }

  template <typename With, typename Values>
  void add_row(Multipliers& group, int row, const BlockPart<Values>& block) {
    for (int head = 0; head < item_.n_heads; ++head) {
      const int query = row * item_.n_heads + head;
      const int i = group.n++;
      group.q[i] = q_[query];
      group.out[i] = to_[query];
      group.state[i] = to_state_[query];
      if (group.n == kMaxQueries) fold_group<With>(group, block);
    }
  }

  void end_span(int span) {
    for (int query = 0; query < item_.n_rows * item_.n_heads; ++query) {
      const int row = query / item_.n_heads;
      if (!sees(row, span)) continue;
      if (item_.partials != nullptr) {
        __builtin_memcpy(to_[query] + width_, &part_states_[query], sizeof(Softmax));
      } else if (span > row_first_span(item_, row)) {
        join(sums_of(row, query % item_.n_heads), states_[query], to_[query], part_states_[query], width_);
      }
    }
  }

  const AttendItem& item_;
  const Stored* next_ = nullptr;  // the block to ask for while the current one is read
  const int width_;
  float* parts_;         // [query][width]
  float* sums_;          // the same; null where the output is a whole number of vectors and serves instead
  std::uint16_t* wide_;  // a block's keys and values as bf16
  const typename Math::Multiplier* q_[kMaxItemQueries];
  float* to_[kMaxItemQueries];  // the span being folded
  Softmax* to_state_[kMaxItemQueries];
  Softmax states_[kMaxItemQueries], part_states_[kMaxItemQueries];
};

template <typename Math>
void attend_with(const AttendItem& item, float* scratch) {
  Queries<Math> queries(item, scratch);
  for (int span = item.first_span; span < item.last_span; ++span) queries.fold_span(span);
  if (item.partials == nullptr) queries.finish_rows();
}

template <typename Stored>
void attend(const AttendItem& item, float* scratch) {
#if defined(__AVX512BF16__)
  if (item.rounds) return attend_with<Halves<Stored>>(item, scratch);
#endif
  attend_with<Floats<Stored>>(item, scratch);
}

void combine(const AttendItem& item) {
  const int width = padded_head_dim(item.head_dim);
  const auto state_of = [&](const float* part) {
    Softmax state;
    __builtin_memcpy(&state, part + width, sizeof state);
    return state;
  };
  for (int query = 0; query < item.n_rows * item.n_heads; ++query) {
    const int row = query / item.n_heads, first = row_first_span(item, row);
    float* sums = partial_of(item, first, query);
    Softmax state = state_of(sums);
    for (int span = first + 1; span <= row_last_span(item, row); ++span) {
      const float* part = partial_of(item, span, query);
      join(sums, state, part, state_of(part), width);
    }
    const int head = query % item.n_heads;
    finish(sums, state, sink_of(item, head), item.head_dim, out_of(item, row, head));
  }
}

/// Rounds 16 values; int8 count steps, of which there are `inverse` in 1, or none.
void put(std::uint16_t* to, f32x16 values, float /*inverse*/) { store_bf16(to, values); }
void put(std::int8_t* to, f32x16 values, float inverse) {
  store_i8(to, inverse > 0.0f ? values * set1(inverse) : set1(0.0f));
}

/// The step between the int8 of `x`: 0 when all of them are next to nothing, NaN when one is not finite.
float int8_step(const float* x, int n) {
  f32x16 largest = set1(0.0f), faults = set1(0.0f);
  for (int i = 0; i < n; i += kLanes) {
    const f32x16 values = load_head(x + i, n - i);
    largest = max(largest, abs(values));
    faults = faults + values * set1(0.0f);
  }
  const float step = reduce_max(largest) / 127.0f + reduce_add(faults);
  return step < kSmallestNormal ? 0.0f : step;
}

template <typename Stored>
void append(std::byte* head_block, int slot, const float* key, const float* value, int head_dim) {
  const int width = padded_head_dim(head_dim);
  auto* keys = reinterpret_cast<Stored*>(head_block) + 2 * slot;
  Stored* values = reinterpret_cast<Stored*>(head_block) + width * kBlockPositions;
  float key_inverse = 1.0f, value_inverse = 1.0f;
  if constexpr (has_scales<Stored>) {
    float* steps = reinterpret_cast<float*>(head_block + scales_offset(width)) + slot;
    steps[0] = int8_step(key, head_dim);
    steps[kBlockPositions] = int8_step(value, head_dim);
    key_inverse = steps[0] > 0.0f ? 1.0f / steps[0] : 0.0f;
    value_inverse = steps[kBlockPositions] > 0.0f ? 1.0f / steps[kBlockPositions] : 0.0f;
  }
  for (int dim = 0; dim < width; dim += kLanes) {
    Stored k[kLanes], v[kLanes];
    put(k, load_head(key + dim, head_dim - dim), key_inverse);
    put(v, load_head(value + dim, head_dim - dim), value_inverse);
    const int tile = dim / kTileDims * kTileDims;
    const int n_dims = clamp(width - tile, 0, kTileDims);
    Stored* pair = values + tile * kBlockPositions + (slot / 2) * 2 * n_dims + 2 * (dim - tile) + slot % 2;
    for (int i = 0; i < kLanes; i += 2) __builtin_memcpy(keys + (dim + i) / 2 * kPairRow, k + i, 2 * sizeof k[0]);
    for (int i = 0; i < kLanes; ++i) pair[2 * i] = v[i];
  }
}

}  // namespace

const AttentionKernels kAttention = {
    {append<std::uint16_t>, attend<std::uint16_t>}, {append<std::int8_t>, attend<std::int8_t>}, combine};

}  // namespace commissure::cpu::COMMISSURE_ISA_NS
