#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "core/check.h"
#include "core/index.h"
#include "sched/scheduler.h"

// The part of the scheduler that lets sequences share blocks.

namespace commissure {

namespace {

/// What stands in a block in place of tokens; empty: no image does. A block's keys and values follow from whole images,
/// also from the part behind the block.
std::string images_in(const Sequence& sequence, int block) {
  std::string names;
  const int first = block * kBlockPositions;
  for (const SliceImage& image : sequence.images_of({first, first + kBlockPositions})) {
    names += fmt::format("{}@{};", image.rows->key, image.first_position - first);
  }
  return names;
}

/// Whose keys and values the first block holds: the adapter's id and scale, which have a fixed length, then the salt,
/// which is a client's text, so that no salt reads like an adapter.
std::string space_of(const SequenceSpec& spec) {
  return fmt::format("{:016x}{:08x}{}", spec.adapter.id.value,
                     spec.adapter ? std::bit_cast<std::uint32_t>(spec.adapter.scale) : 0, spec.cache_salt);
}

PrefixKey key_of(const Sequence& sequence, PrefixId parent, int block) {
  const std::span<const TokenId> tokens(sequence.tokens);
  return {parent, parent == PrefixId() ? space_of(sequence.spec) : "",
          tokens.subspan(block * kBlockPositions, kBlockPositions), images_in(sequence, block)};
}

}  // namespace

/// Rows that are to be scored have to be computed.
bool Scheduler::may_reuse(const Sequence& sequence) const {
  return options_.prefix_cache && sequence.spec.reuse_prefix && !sequence.spec.score_prompt && !sequence.only_scores();
}

/// Blocks of a waiting sequence's beginning that are kept. Remembers them, so that a sequence that waits for many steps
/// is not looked up from its first block in each.
int Scheduler::find_prefix(Sequence& sequence) {
  if (!may_reuse(sequence)) return 0;
  FoundPrefix& found = sequence.found;
  std::vector<PrefixIndex::Entry>& entries = found.entries;
  const std::size_t n_before = entries.size();
  if (std::exchange(found.n_forgotten, blocks_.n_forgotten()) != blocks_.n_forgotten()) {
    const auto is_gone = [&](const PrefixIndex::Entry& entry) { return !blocks_.has(entry); };
    entries.erase(std::ranges::find_if(entries, is_gone), entries.end());
    found.beside.resize(std::min(found.beside.size(), entries.size()));
    if (entries.size() < n_before) found.n_usable.reset();
  }
  const int n_most = (count_of(sequence.tokens) - 1) / kBlockPositions;
  while (count_of(entries) < n_most) {
    const PrefixId parent = entries.empty() ? PrefixId() : entries.back().id;
    const auto next = blocks_.find(key_of(sequence, parent, count_of(entries)));
    if (!next) break;
    entries.push_back(*next);
    found.n_usable.reset();
  }
  return count_of(entries);
}

/// Forgets what is no longer true of the blocks of windows beside those that were found.
void Scheduler::note_windows(FoundPrefix& found) const {
  const PrefixIndex& kept = windows_.blocks().prefixes();
  const auto look_again = [&](PrefixId parent) {
    // A block is kept after the one before it, so ids rise along a beginning.
    const auto at = std::ranges::lower_bound(found.entries, parent, {}, &PrefixIndex::Entry::id);
    const bool is_first = parent == PrefixId();
    if (!is_first && (at == found.entries.end() || at->id != parent)) return;
    const std::size_t entry = is_first ? 0 : to_size(at - found.entries.begin()) + 1;
    if (entry >= found.beside.size() || !std::exchange(found.beside[entry], std::nullopt)) return;
    found.n_usable.reset();
  };
  if (!kept.each_change(found.n_changes, look_again)) {
    found.beside.clear();
    found.n_usable.reset();
  }
  found.n_changes = kept.n_changes();
  found.beside.resize(found.entries.size());
}

bool Scheduler::has_window(const Sequence& sequence, FoundPrefix& found, int entry) const {
  std::optional<BlockId>& beside = found.beside[entry];
  if (!beside) {
    const PrefixId parent = entry == 0 ? PrefixId() : found.entries[entry - 1].id;
    const auto kept = windows_.blocks().find(key_of(sequence, parent, entry));
    beside = kept ? kept->block : FoundPrefix::kNotKept;
  }
  return *beside != FoundPrefix::kNotKept;
}

/// As many of the blocks of its beginning as a waiting sequence may begin behind: those that are kept for all layers,
/// of windows the ones that the rows behind them see.
int Scheduler::n_usable(Sequence& sequence) {
  const int n_found = find_prefix(sequence);
  if (!windows_.is_on()) return n_found;
  FoundPrefix& found = sequence.found;
  note_windows(found);
  if (found.n_usable) return *found.n_usable;
  // From the end: the window's entries without a gap before n, and where there is one, n moves before it.
  int n = n_found;
  for (int n_held = 0; n > 0 && n_held < n - windows_.first_seen(n * kBlockPositions);) {
    const int entry = n - 1 - n_held;
    if (has_window(sequence, found, entry)) {
      ++n_held;
    } else {
      n = entry;
      n_held = 0;
    }
  }
  found.n_usable = n;
  return n;
}

/// The longest beginning that is there.
Scheduler::PrefixMatch Scheduler::match_prefix(Sequence& sequence) {
  PrefixMatch match;
  const int n = n_usable(sequence);
  const FoundPrefix& found = sequence.found;
  for (int i = windows_.is_on() ? windows_.first_seen(n * kBlockPositions) : n; i < n; ++i) {
    match.window.push_back(*found.beside[i]);
  }
  match.blocks.reserve(to_size(n));
  for (int i = 0; i < n; ++i) {
    match.blocks.push_back(found.entries[i].block);
    if (blocks_.n_references(found.entries[i].block) == 0) ++match.n_free;
  }
  if (n > 0) match.last = found.entries[n - 1].id;
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
           running->spec.cache_salt == sequence.spec.cache_salt && running->spec.adapter == sequence.spec.adapter &&
           std::ranges::equal(block_of(*running), block_of(sequence)) &&
           images_in(*running, next) == images_in(sequence, next);
  });
}

/// Blocks of windows that a sequence has to claim to run: for the rows it has and one to grow.
int Scheduler::window_claim(const Sequence& sequence) const {
  const int n_rows = count_of(sequence.tokens) + kBlockPositions;
  return windows_.n_needed(std::min(n_rows, sequence.max_rows()), sequence.most_at_once());
}

void Scheduler::take_prefix(Sequence& sequence, PrefixMatch match) {
  CHECK(sequence.blocks.empty() && sequence.rows.n_sent == 0);
  windows_.begin(sequence.window, count_of(match.blocks), match.window, window_claim(sequence),
                 sequence.most_at_once());
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
