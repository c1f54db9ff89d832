#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/index.h"

namespace commissure {

/// Positions in one KV block. The same everywhere: it is part of the wire and of every kernel's reduction order.
inline constexpr int kBlockPositions = 64;

/// Blocks that hold `n_rows` positions.
inline std::int32_t blocks_for(int n_rows) { return (n_rows + kBlockPositions - 1) / kBlockPositions; }

// Who has which rows. All that ask or tell of it do so in these values: a span of one sequence's rows (RowSpan), how
// far a sequence is with those who compute it (HandedRows), what lies in a pool of KV blocks (HeldRows), and what a
// stage still has as a whole (StageMemory). Which stages have the answered rows is a StageSpan (stage_plan.h).

/// Rows [first, end) of one sequence, by position: those that a step carries, or that somebody has.
struct RowSpan {
  std::int32_t first = 0;
  std::int32_t end = 0;

  int n_rows() const { return std::max(0, end - first); }
  bool empty() const { return end <= first; }
  /// The entries of the block table that they lie in: [first_entry(), end_entry()).
  int first_entry() const { return first / kBlockPositions; }
  int end_entry() const { return empty() ? first_entry() : blocks_for(end); }
  /// Those of them in one entry, counted from the entry's first position; empty when none are.
  RowSpan in_entry(int entry) const {
    const std::int32_t start = entry * kBlockPositions;
    return {std::clamp(first - start, 0, kBlockPositions), std::clamp(end - start, 0, kBlockPositions)};
  }
  bool operator==(const RowSpan&) const = default;
};

/// How far a sequence is with those who compute it: of its rows from the first on, how many were handed over, and how
/// many of these were answered, so that they are known to be there.
struct HandedRows {
  int n_sent = 0;
  int n_answered = 0;

  /// The next `n` to hand over.
  RowSpan next(int n) const { return {n_sent, n_sent + n}; }
  void send(RowSpan rows) { n_sent = rows.end; }
  void answer(RowSpan rows) { n_answered = rows.end; }
  /// They were there before anything was handed over.
  void find(int n) { n_sent = n_answered = n; }
  /// What is in flight will not be answered.
  void drop_unanswered() { n_sent = n_answered; }
  void forget() { *this = {}; }
  bool operator==(const HandedRows&) const = default;
};

/// The rows that lie in a pool of KV blocks, by whichever sequence: of each block the first ones, without a gap.
/// Threading: one thread at a time.
class HeldRows {
 public:
  explicit HeldRows(std::int32_t n_blocks) : n_(to_size(std::max(0, n_blocks))) {}

  bool knows(std::int32_t block) const { return has_index(n_, block); }
  std::size_t n_blocks() const { return n_.size(); }
  /// How many there are. The block is one of the pool, here and below.
  std::int32_t in_block(std::int32_t block) const { return n_[block]; }
  bool has(std::int32_t block, RowSpan in_entry) const { return in_block(block) >= in_entry.end; }
  /// New rows: what lay behind them in the block is nobody's any more.
  void write(std::int32_t block, RowSpan in_entry) { n_[block] = in_entry.end; }
  /// Rows from before, in any order: whoever repeats fewer of them takes none away.
  void rewrite(std::int32_t block, RowSpan in_entry) { n_[block] = std::max(in_block(block), in_entry.end); }
  void forget() { std::ranges::fill(n_, 0); }

 private:
  std::vector<std::int32_t> n_;
};

/// What a stage still has of those it worked for: nothing, the rows in its blocks, or the sequences as well. The lesser
/// of two is what is left when both are true.
enum class StageMemory { kNothing, kRows, kSequences };

}  // namespace commissure
