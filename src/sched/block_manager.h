#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "core/ids.h"
#include "sched/prefix_index.h"

namespace commissure {

/// Gives out the KV blocks 0 .. n_blocks-1, the same numbers on every stage. Blocks are reference counted, so that
/// sequences with a common beginning can hold the same one.
///
/// A full block can be kept under the beginning that it ends: without a holder it still counts as free, but is given
/// out again only when no other block is left, the one least recently used first.
/// Threading: one thread at a time.
class BlockManager {
 public:
  explicit BlockManager(std::int32_t n_blocks);

  /// A free block with one reference; none when all are taken.
  std::optional<BlockId> allocate();
  /// One more holder of a block that is in use or kept.
  void share(BlockId block);
  /// One holder less; the last one frees the block.
  void release(BlockId block);
  /// One sequence's table. Its end is the first to be given out again: without its beginning it is of no use.
  void release_all(std::span<const BlockId> table);

  /// The block that holds this beginning.
  std::optional<PrefixIndex::Entry> find(const PrefixKey& key) const { return prefixes_.find(key); }
  /// Keeps a block in use for who has the same beginning; nobody may write to it from now on. The id of the beginning;
  /// none when its parent was given up, so that nobody could find it.
  std::optional<PrefixId> keep(PrefixKey key, BlockId block);
  /// The same for a key whose parent another manager knows.
  void keep_beside(PrefixKey key, BlockId block);
  /// Nothing is found any more; what has no holder is plainly free.
  void forget_prefixes();

  std::int32_t n_blocks() const { return static_cast<std::int32_t>(references_.size()); }
  /// Free ones, those that are kept without a holder included.
  std::int32_t n_free() const { return static_cast<std::int32_t>(free_.size() + idle_.size()); }
  std::int32_t n_kept() const { return static_cast<std::int32_t>(prefixes_.size()); }
  bool is_kept(BlockId block) const { return prefixes_.contains(block); }
  std::int32_t n_references(BlockId block) const;
  /// Share of the blocks in use, 0..1.
  double usage() const;

 private:
  std::vector<std::int32_t> references_;  // per block; 0 is free
  std::vector<BlockId> free_;             // a stack: the block freed last is the one still in a cache
  PrefixIndex prefixes_;
  std::list<BlockId> idle_;  // kept and without a holder, least recently used first
  std::unordered_map<BlockId, std::list<BlockId>::iterator> idle_at_;
};

}  // namespace commissure
