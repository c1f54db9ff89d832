#pragma once

#include <cstddef>
#include <cstdint>

/// Attention kernels of one instruction set. A KV block holds 64 positions: per kv head 64 keys, then 64 values, bf16;
/// the order inside those two parts is the instruction set's own (attention.cc, reference.cc).
/// This header meets compilers with wider instruction sets, hence plain pointers and no std classes.
namespace commissure::cpu {

inline constexpr int kBlockPositions = 64;

/// bf16 values of one kv head in one block.
inline constexpr std::size_t head_block_size(int head_dim) {
  return 2 * static_cast<std::size_t>(kBlockPositions) * static_cast<std::size_t>(head_dim);
}

/// Rows of one item at most: they walk over the KV blocks together, so that a block is still in L2 for the next row.
inline constexpr int kMaxItemRows = 16;

/// Consecutive rows of one sequence and the query heads that share one kv head.
struct AttendItem {
  const float* q = nullptr;  ///< first row, first head of the group; heads are head_dim apart
  int q_stride = 0;          ///< floats between rows
  float* out = nullptr;      ///< as q; overwritten
  int out_stride = 0;
  int n_rows = 0;          ///< 1..kMaxItemRows
  int n_heads = 0;         ///< query heads of this item
  int head_dim = 0;        ///< a multiple of 16
  int first_position = 0;  ///< of the first row
  int window = 0;          ///< 0: all earlier positions
  float scale = 1.0f;
  const std::uint16_t* cache = nullptr;  ///< the kv head's part of block 0
  std::size_t block_stride = 0;          ///< bf16 values between blocks
  const std::int32_t* blocks = nullptr;  ///< the sequence's block table
};

struct AttentionKernels {
  /// Writes one position of one kv head; `head_block` is that head's part of the block. Other positions stay.
  void (*append)(std::uint16_t* head_block, int slot, const float* key, const float* value, int head_dim);
  /// Cached positions beyond a row's own are never used, whatever they hold.
  void (*attend)(const AttendItem& item);
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

}  // namespace commissure::cpu
