#include "sched/block_manager.h"

#include <ranges>
#include <utility>

#include "core/check.h"

namespace commissure {

BlockManager::BlockManager(std::int32_t n_blocks) {
  CHECK(n_blocks >= 0);
  references_.assign(n_blocks, 0);
  free_.reserve(references_.size());
  // Low numbers on top, so that a mostly idle pool touches few pages.
  for (std::int32_t block = n_blocks; block-- > 0;) free_.emplace_back(block);
}

std::optional<BlockId> BlockManager::allocate() {
  if (n_free() == 0) return std::nullopt;
  BlockId block;
  if (!free_.empty()) {
    block = free_.back();
    free_.pop_back();
  } else {
    block = idle_.front();
    idle_.pop_front();
    idle_at_.erase(block);
    prefixes_.erase(block);
  }
  references_[block.value] = 1;
  return block;
}

void BlockManager::share(BlockId block) {
  if (const auto it = idle_at_.find(block); it != idle_at_.end()) {
    idle_.erase(it->second);
    idle_at_.erase(it);
  } else {
    CHECK(n_references(block) > 0);
  }
  ++references_[block.value];
}

void BlockManager::release(BlockId block) {
  CHECK(n_references(block) > 0);
  if (--references_[block.value] > 0) return;
  if (is_kept(block)) {
    idle_at_.emplace(block, idle_.insert(idle_.end(), block));
  } else {
    free_.push_back(block);
  }
}

void BlockManager::release_all(std::span<const BlockId> table) {
  for (const BlockId block : std::views::reverse(table)) release(block);
}

std::optional<PrefixId> BlockManager::keep(PrefixKey key, BlockId block) {
  CHECK(n_references(block) > 0);
  if (!prefixes_.knows(key.parent)) return std::nullopt;
  return prefixes_.insert(std::move(key), block);
}

void BlockManager::keep_beside(PrefixKey key, BlockId block) {
  CHECK(n_references(block) > 0);
  prefixes_.insert(std::move(key), block);
}

void BlockManager::forget_prefixes() {
  prefixes_.clear();
  free_.insert(free_.end(), idle_.rbegin(), idle_.rend());
  idle_.clear();
  idle_at_.clear();
}

std::int32_t BlockManager::n_references(BlockId block) const {
  CHECK(block.value >= 0 && block.value < n_blocks());
  return references_[block.value];
}

double BlockManager::usage() const {
  if (references_.empty()) return 0.0;
  return 1.0 - static_cast<double>(n_free()) / static_cast<double>(n_blocks());
}

}  // namespace commissure
