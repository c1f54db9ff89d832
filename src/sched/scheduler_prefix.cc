#include <algorithm>
#include <span>
#include <utility>

#include "core/check.h"
#include "core/index.h"
#include "sched/scheduler.h"

// The part of the scheduler that lets sequences share blocks.

namespace commissure {

namespace {

PrefixKey key_of(const Sequence& sequence, PrefixId parent, int block) {
  const std::span<const TokenId> tokens(sequence.tokens);
  return {parent, sequence.spec.cache_salt, tokens.subspan(block * kBlockPositions, kBlockPositions)};
}

}  // namespace

/// Rows that are to be scored have to be computed.
bool Scheduler::may_reuse(const Sequence& sequence) const {
  return options_.prefix_cache && sequence.spec.reuse_prefix && !sequence.spec.score_prompt && !sequence.only_scores();
}

/// Blocks of a waiting sequence's beginning that are kept, as many as it may begin behind. Remembers them, so that a
/// sequence that waits for many steps is not looked up from its first block in each.
int Scheduler::find_prefix(Sequence& sequence) {
  if (!may_reuse(sequence)) return 0;
  std::vector<PrefixIndex::Entry>& found = sequence.found;
  if (std::exchange(sequence.found_at, blocks_.n_forgotten()) != blocks_.n_forgotten()) {
    const auto gone = std::ranges::find_if(found, [&](const PrefixIndex::Entry& entry) { return !blocks_.has(entry); });
    found.erase(gone, found.end());
  }
  const int n_most = (count_of(sequence.tokens) - 1) / kBlockPositions;
  while (count_of(found) < n_most) {
    const PrefixId parent = found.empty() ? PrefixId() : found.back().id;
    const auto next = blocks_.find(key_of(sequence, parent, count_of(found)));
    if (!next) break;
    found.push_back(*next);
  }
  return count_of(found);
}

/// The longest beginning that is there for all layers: its blocks, and of those for windows the ones that the rows
/// behind it see.
Scheduler::PrefixMatch Scheduler::match_prefix(Sequence& sequence) {
  PrefixMatch match;
  int n = find_prefix(sequence);
  const std::vector<PrefixIndex::Entry>& found = sequence.found;
  // From the end: the window's entries without a gap before n, and where there is one, n moves before it.
  while (windows_.is_on() && n > 0) {
    const int n_seen = n - windows_.first_seen(n * kBlockPositions);
    if (count_of(match.window) == n_seen) break;
    const int entry = n - 1 - count_of(match.window);
    const PrefixId parent = entry == 0 ? PrefixId() : found[entry - 1].id;
    if (const auto beside = windows_.blocks().find(key_of(sequence, parent, entry))) {
      match.window.push_back(beside->block);
    } else {
      match.window.clear();
      n = entry;
    }
  }
  std::ranges::reverse(match.window);
  match.blocks.reserve(to_size(n));
  for (int i = 0; i < n; ++i) {
    match.blocks.push_back(found[i].block);
    if (blocks_.n_references(found[i].block) == 0) ++match.n_free;
  }
  if (n > 0) match.last = found[n - 1].id;
  return match;
}

/// Whether a prompt under way computes the next block of this one's beginning, of which `next` blocks were found, so
/// that waiting for it saves work.
bool Scheduler::is_being_computed(const Sequence& sequence, int next) const {
  if (!may_reuse(sequence)) return false;
  const int first = next * kBlockPositions;
  if (first + kBlockPositions >= count_of(sequence.tokens)) return false;
  const auto block_of = [&](const Sequence& from) { return std::span(from.tokens).subspan(first, kBlockPositions); };
  return std::ranges::any_of(running_, [&](const Sequence* running) {
    return !running->decodes() && running->prefix && running->n_kept <= next &&
           first + kBlockPositions <= count_of(running->tokens) &&
           running->spec.cache_salt == sequence.spec.cache_salt &&
           std::ranges::equal(block_of(*running), block_of(sequence));
  });
}

/// Blocks of windows that a sequence has to claim to run: for the rows it has and one to grow.
int Scheduler::window_claim(const Sequence& sequence) const {
  const int n_rows = count_of(sequence.tokens) + kBlockPositions;
  return windows_.n_needed(std::min(n_rows, sequence.max_rows()));
}

void Scheduler::take_prefix(Sequence& sequence, PrefixMatch match) {
  CHECK(sequence.blocks.empty() && sequence.rows.n_sent == 0);
  windows_.begin(sequence.window, count_of(match.blocks), match.window, window_claim(sequence));
  sequence.found = {};
  if (!may_reuse(sequence)) return;
  for (const BlockId block : match.blocks) blocks_.share(block);
  sequence.n_kept = count_of(match.blocks);
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
    const int entry = sequence.n_kept;
    PrefixKey key = key_of(sequence, *sequence.prefix, sequence.n_kept);
    sequence.prefix = blocks_.keep(key, sequence.blocks[entry]);
    if (sequence.prefix && windows_.is_on())
      windows_.blocks().keep_beside(std::move(key), sequence.window.blocks[entry]);
  }
}

}  // namespace commissure
