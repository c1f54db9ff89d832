#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "core/ids.h"
#include "step/step_batch.h"

namespace commissure {

/// Names one beginning of a sequence, up to the end of a full block. Never used twice; 0 is the empty beginning.
using PrefixId = Id<struct PrefixTag, std::uint64_t>;

/// All that a full block's keys and values depend on: the beginning before the block, the block's own tokens and the
/// images that stand in place of some. Keys are compared whole, not by a hash, and a parent's id stands for exactly one
/// beginning, so two different beginnings never count as equal.
struct PrefixKey {
  PrefixId parent;
  std::string space;  ///< only the first block's, whose descendants it parts: adapter and salt
  std::array<TokenId, kBlockPositions> tokens{};
  std::string images;  ///< names of their content, and where they begin

  PrefixKey(PrefixId before, const std::string& name, std::span<const TokenId> block_tokens,
            std::string block_images = "");
  auto operator<=>(const PrefixKey&) const = default;
};

/// Which block ends which beginning. Threading: one thread at a time.
class PrefixIndex {
 public:
  struct Entry {
    BlockId block;
    PrefixId id;
  };

  std::optional<Entry> find(const PrefixKey& key) const;
  /// Whether an entry that was found is still there.
  bool has(const Entry& entry) const;
  /// Enters a block that is in no entry yet, unless another block is entered for its beginning. Returns the id of the
  /// beginning.
  PrefixId insert(PrefixKey key, BlockId block);
  /// Whether a beginning is empty or still entered, so that blocks that follow it can be found.
  bool knows(PrefixId id) const { return id == PrefixId() || ids_.contains(id); }
  bool contains(BlockId block) const { return by_block_.contains(block); }
  void erase(BlockId block);
  void clear();
  std::size_t size() const { return entries_.size(); }
  std::uint64_t n_erased() const { return n_erased_; }
  std::uint64_t n_lookups() const { return n_lookups_; }

  /// Keys entered and erased so far.
  std::uint64_t n_changes() const { return n_changes_; }
  /// Calls `note` with the parent of each key that was entered or erased after the first `since` changes. False: these
  /// are not all remembered.
  template <typename Note>
  bool each_change(std::uint64_t since, Note note) const {
    if (since < first_change_ || n_changes_ - since > changes_.size()) return false;
    for (std::uint64_t i = since; i < n_changes_; ++i) note(changes_[i % changes_.size()]);
    return true;
  }

 private:
  void note_change(PrefixId parent) { changes_[n_changes_++ % changes_.size()] = parent; }

  using Entries = std::map<PrefixKey, Entry>;
  Entries entries_;
  std::unordered_map<BlockId, Entries::iterator> by_block_;
  std::unordered_set<PrefixId> ids_;  // of entries_
  PrefixId last_id_;
  std::uint64_t n_erased_ = 0;
  std::array<PrefixId, 1024> changes_{};  // a ring: the latest
  std::uint64_t n_changes_ = 0;
  std::uint64_t first_change_ = 0;       // those before it are not remembered
  mutable std::uint64_t n_lookups_ = 0;  // for tests: each compares tokens
};

}  // namespace commissure
