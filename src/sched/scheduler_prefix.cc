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

Scheduler::PrefixMatch Scheduler::match_prefix(const Sequence& sequence) const {
  PrefixMatch match;
  if (!may_reuse(sequence)) return match;
  const int n_most = (static_cast<int>(sequence.tokens.size()) - 1) / kBlockPositions;
  for (int block = 0; block < n_most; ++block) {
    const auto found = blocks_.find(key_of(sequence, match.last, block));
    if (!found) break;
    match.blocks.push_back(found->block);
    match.last = found->id;
    match.n_free += blocks_.n_references(found->block) == 0 ? 1 : 0;
  }
  return match;
}

void Scheduler::take_prefix(Sequence& sequence, PrefixMatch match) {
  CHECK(sequence.blocks.empty() && sequence.n_scheduled == 0);
  if (!may_reuse(sequence)) return;
  for (const BlockId block : match.blocks) blocks_.share(block);
  sequence.n_kept = static_cast<int>(match.blocks.size());
  sequence.n_cached = sequence.n_kept * kBlockPositions;
  sequence.n_scheduled = sequence.n_committed = sequence.n_cached;
  sequence.prefix = match.last;
  sequence.blocks = std::move(match.blocks);
  n_prefix_queries_ += sequence.tokens.size();
  n_prefix_hits_ += static_cast<std::uint64_t>(sequence.n_cached);
}

/// Makes known the blocks that the last answered step filled.
void Scheduler::keep_blocks(Sequence& sequence) {
  if (!options_.prefix_cache) return;
  for (; sequence.prefix && sequence.n_kept < sequence.n_committed / kBlockPositions; ++sequence.n_kept) {
    const BlockId block = sequence.blocks[static_cast<std::size_t>(sequence.n_kept)];
    sequence.prefix = blocks_.keep(key_of(sequence, *sequence.prefix, sequence.n_kept), block);
  }
}

}  // namespace commissure
