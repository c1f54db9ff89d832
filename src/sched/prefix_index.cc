#include "sched/prefix_index.h"

#include <algorithm>
#include <utility>

#include "core/check.h"

namespace commissure {

PrefixKey::PrefixKey(PrefixId before, const std::string& name, std::span<const TokenId> block_tokens,
                     std::string block_images)
    : parent(before), images(std::move(block_images)) {
  CHECK(block_tokens.size() == tokens.size());
  if (before == PrefixId()) space = name;
  std::ranges::copy(block_tokens, tokens.begin());
}

std::optional<PrefixIndex::Entry> PrefixIndex::find(const PrefixKey& key) const {
  ++n_lookups_;
  const auto it = entries_.find(key);
  if (it == entries_.end()) return std::nullopt;
  return it->second;
}

bool PrefixIndex::has(const Entry& entry) const {
  const auto it = by_block_.find(entry.block);
  return it != by_block_.end() && it->second->second.id == entry.id;
}

PrefixId PrefixIndex::insert(PrefixKey key, BlockId block) {
  CHECK(!contains(block));
  const auto [it, is_new] = entries_.try_emplace(std::move(key), Entry{block, last_id_.next()});
  if (is_new) {
    note_change(it->first.parent);
    last_id_ = last_id_.next();
    ids_.insert(last_id_);
    by_block_.emplace(block, it);
  }
  return it->second.id;
}

void PrefixIndex::erase(BlockId block) {
  const auto it = by_block_.find(block);
  CHECK(it != by_block_.end());
  note_change(it->second->first.parent);
  ids_.erase(it->second->second.id);
  entries_.erase(it->second);
  by_block_.erase(it);
  ++n_erased_;
}

void PrefixIndex::clear() {
  n_erased_ += entries_.size();
  entries_.clear();
  by_block_.clear();
  ids_.clear();
  first_change_ = ++n_changes_;
}

}  // namespace commissure
