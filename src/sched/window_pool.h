#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/ids.h"
#include "core/index.h"
#include "sched/block_manager.h"

namespace commissure {

/// One sequence's blocks in the layers with a sliding window. Entry i holds positions [64 i, 64 i + 64); the blocks of
/// entries before `first` fell behind the window and may belong to other sequences by now.
struct WindowTable {
  std::vector<BlockId> blocks;
  int first = 0;
  int n_sent = 0;     ///< entries the stages know
  int n_claimed = 0;  ///< blocks it may hold
  int n_extra = 0;    ///< of the claim, what stays beside the window's own blocks

  int n_entries() const { return count_of(blocks); }
  int n_held() const { return n_entries() - first; }
};

/// The KV blocks of the layers with a sliding window. A sequence holds the blocks of its window and of its rows in
/// flight; it gives back blocks that lie behind the window of every row that has no answer yet.
///
/// Every sequence has a claim on as many blocks as its window may span; a prompt under way may claim more while the
/// pool has unclaimed blocks. All claims together never exceed the pool, so a claimed block can always be had, and a
/// running sequence never lacks a block of its window. A shared block counts once for each holder.
///
/// With a window of 0 the pool is off: every call succeeds and no block is held. Threading: one thread at a time.
class WindowPool {
 public:
  /// `window`: positions that the widest window spans; 0: the model has none.
  WindowPool(int window, std::int32_t n_blocks);

  /// The most blocks that a sequence of up to `n_rows` rows needs at any one time, `n_at_once` of which may come in one
  /// step and see each other.
  int n_needed(int n_rows, int n_at_once = 1) const;
  /// The first entry that rows from `position` on see.
  int first_seen(int position) const;

  bool fits(int n_blocks) const { return n_blocks <= blocks_.n_blocks(); }
  /// Whether there is room now for a claim on `n_blocks`, for a sequence about to run.
  bool may_claim(int n_blocks) const { return n_claimed_ + n_blocks <= blocks_.n_blocks(); }
  /// Begins a table that holds `shared` as the last entries before `n_entries`, with a claim on n_blocks, which is
  /// more. The claim covers `n_at_once` rows beside the window until slide() ends that.
  void begin(WindowTable& table, int n_entries, std::span<const BlockId> shared, int n_blocks, int n_at_once = 1);
  /// The position before which rows may be scheduled now.
  int limit(const WindowTable& table) const;
  /// Makes the table cover rows [0, n_rows); the claim grows where it must. False: no room; the table is as before.
  bool grow(WindowTable& table, int n_rows);
  /// The rows before `n_committed` are answered: gives back what no later row sees. Without `has_images`, rows that
  /// come at once among the later ones, the claim for such ends, too.
  void slide(WindowTable& table, int n_committed, bool has_images = true);
  /// Gives everything back.
  void end(WindowTable& table);

  bool is_on() const { return window_ > 0; }
  BlockManager& blocks() { return blocks_; }
  const BlockManager& blocks() const { return blocks_; }
  int n_claimed() const { return n_claimed_; }

 private:
  void set_claim(WindowTable& table, int n_blocks);

  const int window_;
  BlockManager blocks_;
  int n_claimed_ = 0;
};

}  // namespace commissure
