#include "sched/block_manager.h"

#include "core/check.h"

namespace commissure {

BlockManager::BlockManager(std::int32_t n_blocks) {
  CHECK(n_blocks >= 0);
  references_.assign(static_cast<std::size_t>(n_blocks), 0);
  free_.reserve(references_.size());
  // Low numbers on top, so that a mostly idle pool touches few pages.
  for (std::int32_t block = n_blocks; block-- > 0;) free_.emplace_back(block);
}

std::optional<BlockId> BlockManager::allocate() {
  if (free_.empty()) return std::nullopt;
  const BlockId block = free_.back();
  free_.pop_back();
  references_[static_cast<std::size_t>(block.value)] = 1;
  return block;
}

void BlockManager::share(BlockId block) {
  CHECK(n_references(block) > 0);
  ++references_[static_cast<std::size_t>(block.value)];
}

void BlockManager::release(BlockId block) {
  CHECK(n_references(block) > 0);
  if (--references_[static_cast<std::size_t>(block.value)] == 0) free_.push_back(block);
}

std::int32_t BlockManager::n_references(BlockId block) const {
  CHECK(block.value >= 0 && block.value < n_blocks());
  return references_[static_cast<std::size_t>(block.value)];
}

double BlockManager::usage() const {
  if (references_.empty()) return 0.0;
  return 1.0 - static_cast<double>(n_free()) / static_cast<double>(n_blocks());
}

}  // namespace commissure
