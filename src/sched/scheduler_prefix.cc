#include <algorithm>
#include <span>
#include <utility>

#include "core/check.h"
#include "sched/scheduler.h"

// The part of the scheduler that lets sequences share blocks.

namespace commissure {

namespace {

PrefixKey key_of(const Sequence& sequence, PrefixId parent, int block) {
  const std::span<const TokenId> tokens(sequence.tokens);
  return {parent, sequence.spec.cache_salt,
          tokens.subspan(static_cast<std::size_t>(block) * kBlockPositions, kBlockPositions)};
}

}  // namespace

/// Rows that are to be scored have to be computed.
bool Scheduler::may_reuse(const Sequence& sequence) const {
  return options_.prefix_cache && sequence.spec.reuse_prefix && !sequence.spec.score_prompt && !sequence.only_scores();
}

/// The longest beginning that is there for all layers: its blocks, and of those for windows the ones that the rows
/// behind it see.
Scheduler::PrefixMatch Scheduler::match_prefix(const Sequence& sequence) const {
  PrefixMatch match;
  if (!may_reuse(sequence)) return match;
  const int n_most = (static_cast<int>(sequence.tokens.size()) - 1) / kBlockPositions;
  PrefixId parent;
  std::vector<BlockId> blocks, window;
  for (int n = 1; n <= n_most; ++n) {
    const PrefixKey key = key_of(sequence, parent, n - 1);
    const auto found = blocks_.find(key);
    if (!found) break;
    parent = found->id;
    blocks.push_back(found->block);
    if (windows_.is_on()) {
      const auto beside = windows_.blocks().find(key);
      if (beside) window.push_back(beside->block);
      if (!beside) window.clear();  // now the entries without a gap before n
      const int n_seen = n - windows_.first_seen(n * kBlockPositions);
      if (std::cmp_less(window.size(), n_seen)) continue;
      match.window.assign(window.end() - n_seen, window.end());
    }
    match.blocks = blocks;
    match.last = parent;
  }
  match.n_free = static_cast<std::int32_t>(
      std::ranges::count_if(match.blocks, [&](BlockId block) { return blocks_.n_references(block) == 0; }));
  return match;
}

/// Blocks of windows that a sequence has to claim to run: for the rows it has and one to grow.
int Scheduler::window_claim(const Sequence& sequence) const {
  const int n_rows = static_cast<int>(sequence.tokens.size()) + kBlockPositions;
  return windows_.n_needed(std::min(n_rows, sequence.max_rows()));
}

void Scheduler::take_prefix(Sequence& sequence, PrefixMatch match) {
  CHECK(sequence.blocks.empty() && sequence.rows.n_sent == 0);
  windows_.begin(sequence.window, static_cast<int>(match.blocks.size()), match.window, window_claim(sequence));
  if (!may_reuse(sequence)) return;
  for (const BlockId block : match.blocks) blocks_.share(block);
  sequence.n_kept = static_cast<int>(match.blocks.size());
  sequence.n_cached = sequence.n_kept * kBlockPositions;
  sequence.rows.find(sequence.n_cached);
  sequence.prefix = match.last;
  sequence.blocks = std::move(match.blocks);
  n_prefix_queries_ += sequence.tokens.size();
  n_prefix_hits_ += static_cast<std::uint64_t>(sequence.n_cached);
}

/// Makes known the blocks that the last answered step filled.
void Scheduler::keep_blocks(Sequence& sequence) {
  if (!options_.prefix_cache) return;
  for (; sequence.prefix && sequence.n_kept < sequence.rows.n_answered / kBlockPositions; ++sequence.n_kept) {
    const auto entry = static_cast<std::size_t>(sequence.n_kept);
    PrefixKey key = key_of(sequence, *sequence.prefix, sequence.n_kept);
    sequence.prefix = blocks_.keep(key, sequence.blocks[entry]);
    if (sequence.prefix && windows_.is_on())
      windows_.blocks().keep_beside(std::move(key), sequence.window.blocks[entry]);
  }
}

}  // namespace commissure
