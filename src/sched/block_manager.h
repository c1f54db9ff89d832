#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/ids.h"

namespace commissure {

/// Gives out the KV blocks 0 .. n_blocks-1, the same numbers on every stage. Blocks are reference counted, so that
/// sequences with a common beginning can hold the same one.
/// Threading: one thread at a time.
class BlockManager {
 public:
  explicit BlockManager(std::int32_t n_blocks);

  /// A free block with one reference; none when all are taken.
  std::optional<BlockId> allocate();
  /// One more holder of a block that is in use.
  void share(BlockId block);
  /// One holder less; the last one frees the block.
  void release(BlockId block);

  std::int32_t n_blocks() const { return static_cast<std::int32_t>(references_.size()); }
  std::int32_t n_free() const { return static_cast<std::int32_t>(free_.size()); }
  std::int32_t n_references(BlockId block) const;
  /// Share of the blocks in use, 0..1.
  double usage() const;

 private:
  std::vector<std::int32_t> references_;  // per block; 0 is free
  std::vector<BlockId> free_;             // a stack: the block freed last is the one still in a cache
};

}  // namespace commissure
