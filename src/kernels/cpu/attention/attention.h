#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/padded_head.h"

/// Attention kernels of one instruction set. A KV block holds 64 positions: per kv head 64 keys, then 64 values, and
/// for int8 then 64 scales of keys and 64 of values in f32; the order inside the first two parts is the instruction
/// set's own (attention.cc, reference.cc). This header meets compilers with wider instruction sets, hence plain
/// pointers and no std classes.
namespace commissure::cpu {

inline constexpr int kBlockPositions = 64;

/// A row's keys are folded in spans of so many absolute positions, and the spans' results join in rising order. So
/// threads may share one row's keys, and no bit shows which of them folded what.
inline constexpr int kSpanBlocks = 4;
inline constexpr int kSpanPositions = kSpanBlocks * kBlockPositions;

/// Where the scales of an int8 block's head begin, in bytes from its keys; keys and values are `width` int8 wide.
inline constexpr std::size_t scales_offset(int width) {
  return 2 * static_cast<std::size_t>(kBlockPositions) * static_cast<std::size_t>(width);
}

/// The smallest normal float. Steps and weights of int8 values that are smaller are 0, on every instruction set.
inline constexpr float kSmallestNormal = 1.17549435e-38f;

/// Limits of one item: rows, query heads, and queries (rows times heads). An item's queries walk over the KV blocks
/// together, so that a block is still in the cache for the next query.
inline constexpr int kMaxItemRows = 16;
inline constexpr int kMaxItemHeads = 16;
inline constexpr int kMaxItemQueries = 64;

/// Consecutive rows of one sequence, query heads that share one kv head, and the spans to fold.
struct AttendItem {
  const float* q = nullptr;  ///< first row, first head of the group; heads are head_dim apart
  int q_stride = 0;          ///< floats between rows
  float* out = nullptr;      ///< laid out as q; overwritten
  int out_stride = 0;
  int n_rows = 0;
  int n_heads = 0;         ///< query heads of this item
  int head_dim = 0;        ///< even; keys and values in the cache are padded_head_dim() wide
  int first_position = 0;  ///< of the first row
  int window = 0;          ///< 0: all earlier positions
  int seen_to = 0;         ///< as SequenceSpan: where what all its rows see ends; 0: with each row's own position
  float scale = 1.0f;
  float softcap = 0.0f;  ///< 0: none; else scaled scores s become softcap * tanh(s / softcap)
  /// Queries and weights meet keys and values rounded to bf16, else in f32. A weight is scaled before it is rounded.
  bool rounds = false;
  const std::byte* cache = nullptr;      ///< the kv head's part of block 0
  std::size_t block_stride = 0;          ///< bytes between blocks
  const std::int32_t* blocks = nullptr;  ///< the sequence's block table
  const float* sinks = nullptr;          ///< [n_heads] one more score of a head's queries, without a value; or null
  int first_span = 0, last_span = 0;     ///< spans [first, last); all that its rows see, unless there are partials
  /// Null: the item makes its rows' output. Else every span's result is put here, [span][row][head][partial_size],
  /// for combine().
  float* partials = nullptr;
  const std::byte* next = nullptr;  ///< bytes that its thread reads afterwards, to be prefetched; or null
};

/// First position that a query at `position` sees.
inline constexpr int first_key(int window, int position) {
  return window > 0 && position >= window ? position - window + 1 : 0;
}

/// Last position that a row of the item sees.
inline constexpr int last_key(const AttendItem& item, int row) {
  return item.seen_to > 0 ? item.seen_to - 1 : item.first_position + row;
}

/// Floats of one query's result over one span: its values, then the largest score and the sum of weights.
inline constexpr int partial_size(int head_dim) { return padded_head_dim(head_dim) + 16; }

/// Floats that attend() needs for itself: for each query its multipliers, the span being folded and, where whole
/// vectors would not fit its output, what was folded before; and a block widened to bf16.
inline constexpr std::size_t attend_scratch_size(int head_dim) {
  const int width = padded_head_dim(head_dim), n_per_query = width == head_dim ? 2 : 3;
  return static_cast<std::size_t>((n_per_query * kMaxItemQueries + kBlockPositions) * width);
}

/// The kernels for one way of storing keys and values (KvType).
struct KvKernels {
  /// Writes one position of one kv head; `head_block` is that head's part of the block. Other positions stay.
  void (*append)(std::byte* head_block, int slot, const float* key, const float* value, int head_dim);
  /// Cached positions beyond the last that a row sees are never used, whatever they hold.
  ///   scratch  attend_scratch_size() floats, 64-byte aligned
  void (*attend)(const AttendItem& item, float* scratch);
};

struct AttentionKernels {
  KvKernels bf16, int8;
  /// Makes the output of an item whose spans are all in `partials`: the bits that attend() gives without them.
  /// The partials are used up. Null: items must come whole.
  void (*combine)(const AttendItem& item);
};

namespace reference {
extern const AttentionKernels kAttention;
}
namespace generic {
extern const AttentionKernels kAttention;
}
namespace avx2 {
extern const AttentionKernels kAttention;
}
namespace avx512 {
extern const AttentionKernels kAttention;
}
namespace avx512bf16 {
extern const AttentionKernels kAttention;
}

}  // namespace commissure::cpu
