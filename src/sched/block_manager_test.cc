#include "sched/block_manager.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

TEST(BlockManager, GivesEveryBlockOnceThenNone) {
  BlockManager blocks(3);
  EXPECT_EQ(blocks.allocate(), BlockId(0));
  EXPECT_EQ(blocks.allocate(), BlockId(1));
  EXPECT_EQ(blocks.allocate(), BlockId(2));
  EXPECT_EQ(blocks.allocate(), std::nullopt);
  EXPECT_EQ(blocks.usage(), 1.0);
}

TEST(BlockManager, FreesABlockWithItsLastHolder) {
  BlockManager blocks(1);
  const BlockId block = *blocks.allocate();
  blocks.share(block);
  blocks.release(block);
  EXPECT_EQ(blocks.n_free(), 0);
  blocks.release(block);
  EXPECT_EQ(blocks.n_free(), 1);
  EXPECT_EQ(blocks.usage(), 0.0);
}

TEST(BlockManager, AnEmptyPoolIsUnused) { EXPECT_EQ(BlockManager(0).usage(), 0.0); }

}  // namespace
}  // namespace commissure
