#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "core/ids.h"
#include "core/index.h"
#include "sched/prefix_index.h"

namespace commissure {

/// Gives out the KV blocks 0 .. n_blocks-1, the same numbers on every stage. Blocks are reference counted, so that
/// sequences with a common beginning can hold the same block.
///
/// A full block can be kept for the beginning of a sequence (PrefixKey) that it ends. Without a holder a kept block
/// counts as free, but it is given out again only when no other block is left, the least recently used first.
/// Threading: one thread at a time.
class BlockManager {
 public:
  explicit BlockManager(std::int32_t n_blocks);

  /// A free block with one reference; none when all are taken.
  std::optional<BlockId> allocate();
  /// One more holder of a block that is in use or kept.
  void share(BlockId block);
  /// One holder less; when the last holder is gone, the block is free.
  void release(BlockId block);
  /// Releases one sequence's table. The table's end is given out again first: without the blocks before it a block is
  /// of no use.
  void release_all(std::span<const BlockId> table);

  /// The kept block that ends this beginning; none when it is not kept.
  std::optional<PrefixIndex::Entry> find(const PrefixKey& key) const { return prefixes_.find(key); }
  /// Whether an entry that was found is still kept.
  bool has(const PrefixIndex::Entry& entry) const { return prefixes_.has(entry); }
  /// Beginnings that were kept and are no more: as long as this is the same, what was found is still there.
  std::uint64_t n_forgotten() const { return prefixes_.n_erased(); }
  /// Look-ups of beginnings so far.
  std::uint64_t n_lookups() const { return prefixes_.n_lookups(); }
  /// What was kept and forgotten (PrefixIndex::each_change).
  const PrefixIndex& prefixes() const { return prefixes_; }
  /// Keeps a block that is in use, for sequences with the same beginning; nobody may write to it from now on. Returns
  /// the id of the beginning; none when the beginning before it is not kept, so that nobody could find this block.
  std::optional<PrefixId> keep(PrefixKey key, BlockId block);
  /// As keep(), for a key whose parent another manager keeps.
  void keep_beside(PrefixKey key, BlockId block);
  /// Gives up all kept beginnings; blocks without a holder are plainly free.
  void forget_prefixes();

  std::int32_t n_blocks() const { return count_of(references_); }
  /// Free blocks, including kept blocks without a holder.
  std::int32_t n_free() const { return count_of(free_) + count_of(idle_); }
  std::int32_t n_kept() const { return count_of(prefixes_); }
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
