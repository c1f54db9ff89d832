#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/ids.h"
#include "sched/block_manager.h"

namespace commissure {

/// One sequence's blocks in the layers with a sliding window. Entry i holds positions [64 i, 64 i + 64); the entries
/// before `first` fell behind the window and belong to others by now.
struct WindowTable {
  std::vector<BlockId> blocks;
  int first = 0;
  int n_sent = 0;     ///< entries the stages know
  int n_claimed = 0;  ///< blocks it may hold

  int n_entries() const { return static_cast<int>(blocks.size()); }
  int n_held() const { return n_entries() - first; }
};

/// The KV blocks of the layers with a sliding window. A sequence holds those of its window and of the rows in flight;
/// blocks that fell behind the window of every row without an answer go back.
///
/// Every sequence has a claim on as many blocks as its window may span, and a prompt under way may claim more while
/// there are some. Claims together never exceed the pool, so what is claimed can always be had and a sequence that runs
/// is never stuck for a block of its window. Shared blocks count for each holder.
///
/// Off, with a window of 0, it gives everything and holds nothing. Threading: one thread at a time.
class WindowPool {
 public:
  /// `window`: positions that the widest window spans; 0: the model has none.
  WindowPool(int window, std::int32_t n_blocks);

  /// Blocks that a sequence of up to `n_rows` rows may need at a time, however long it gets.
  int n_needed(int n_rows) const;
  /// The first entry that rows from `position` on see.
  int first_seen(int position) const;

  bool fits(int n_blocks) const { return n_blocks <= blocks_.n_blocks(); }
  /// The claim of a sequence about to run; false: there is no room for it now.
  bool may_claim(int n_blocks) const { return n_claimed_ + n_blocks <= blocks_.n_blocks(); }
  /// Begins a table that holds `shared` as the last entries before `n_entries`, with a claim on n_blocks, which is
  /// more.
  void begin(WindowTable& table, int n_entries, std::span<const BlockId> shared, int n_blocks);
  /// Position up to which rows may be scheduled now.
  int limit(const WindowTable& table) const;
  /// Makes the table cover rows [0, n_rows); the claim grows where it must. False: no room; the table is as before.
  bool grow(WindowTable& table, int n_rows);
  /// The rows before `n_committed` are answered: gives back what no later row sees.
  void slide(WindowTable& table, int n_committed);
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
