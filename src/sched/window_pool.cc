#include "sched/window_pool.h"

#include <algorithm>
#include <limits>

#include "core/check.h"
#include "core/index.h"
#include "step/step_batch.h"

namespace commissure {

namespace {

constexpr BlockId kAbsent(-1);

/// Blocks for rows that come at once, beside those of one row's window.
int extra_blocks(int n_at_once) { return blocks_for(n_at_once - 1); }

}  // namespace

WindowPool::WindowPool(int window, std::int32_t n_blocks) : window_(window), blocks_(window > 0 ? n_blocks : 0) {
  CHECK(window >= 0);
}

int WindowPool::n_needed(int n_rows, int n_at_once) const {
  if (!is_on()) return 0;
  // A row sees `window` positions, which begin anywhere in a block.
  const int spanned = (window_ - 1 + kBlockPositions - 1) / kBlockPositions + 1;
  return std::min(spanned + extra_blocks(n_at_once), blocks_for(n_rows));
}

int WindowPool::first_seen(int position) const { return std::max(0, position - window_ + 1) / kBlockPositions; }

void WindowPool::begin(WindowTable& table, int n_entries, std::span<const BlockId> shared, int n_blocks,
                       int n_at_once) {
  CHECK(table.blocks.empty() && table.n_claimed == 0);
  if (!is_on()) return;
  table.first = n_entries - count_of(shared);
  table.blocks.assign(table.first, kAbsent);
  table.blocks.insert(table.blocks.end(), shared.begin(), shared.end());
  for (const BlockId block : shared) blocks_.share(block);
  table.n_extra = extra_blocks(n_at_once);
  set_claim(table, n_blocks);
  CHECK(table.n_held() < table.n_claimed || n_entries == 0);
}

int WindowPool::limit(const WindowTable& table) const {
  if (!is_on()) return std::numeric_limits<int>::max();
  return (table.first + table.n_claimed + blocks_.n_blocks() - n_claimed_) * kBlockPositions;
}

bool WindowPool::grow(WindowTable& table, int n_rows) {
  if (!is_on()) return true;
  if (n_rows > limit(table)) return false;
  const int n_entries = blocks_for(n_rows);
  set_claim(table, std::max(table.n_claimed, n_entries - table.first));
  while (table.n_entries() < n_entries) {
    const std::optional<BlockId> block = blocks_.allocate();
    CHECK(block.has_value());
    table.blocks.push_back(*block);
  }
  return true;
}

void WindowPool::slide(WindowTable& table, int n_committed, bool has_images) {
  if (!is_on()) return;
  if (!has_images) table.n_extra = 0;
  for (const int first = first_seen(n_committed); table.first < first; ++table.first) {
    blocks_.release(table.blocks[table.first]);
  }
  // A prompt's further claims end with their use; what the window itself may need stays.
  const int needed = n_needed(std::numeric_limits<int>::max() - kBlockPositions) + table.n_extra;
  set_claim(table, std::max(table.n_held(), std::min(table.n_claimed, needed)));
}

void WindowPool::end(WindowTable& table) {
  blocks_.release_all(std::span(table.blocks).subspan(table.first));
  set_claim(table, 0);
  table = {};
}

void WindowPool::set_claim(WindowTable& table, int n_blocks) {
  n_claimed_ += n_blocks - table.n_claimed;
  table.n_claimed = n_blocks;
  CHECK(n_claimed_ <= blocks_.n_blocks());
}

}  // namespace commissure
