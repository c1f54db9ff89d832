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

PrefixKey key(int token, PrefixId parent = {}) {
  return {parent, "", std::vector<TokenId>(kBlockPositions, TokenId(token))};
}

TEST(BlockManager, GivesKeptBlocksOutLast) {
  BlockManager blocks(3);
  const std::vector<BlockId> table = {*blocks.allocate(), *blocks.allocate(), *blocks.allocate()};
  const auto first = blocks.keep(key(1), table[0]);
  ASSERT_TRUE(blocks.keep(key(2, *first), table[1]).has_value());
  blocks.release_all(table);
  EXPECT_EQ(blocks.n_free(), 3);
  EXPECT_EQ(blocks.n_kept(), 2);
  EXPECT_EQ(blocks.allocate(), table[2]);
  EXPECT_EQ(blocks.allocate(), table[1]) << "the end before the beginning";
  EXPECT_FALSE(blocks.find(key(2, *first)).has_value());
  ASSERT_TRUE(blocks.find(key(1)).has_value());
  blocks.share(blocks.find(key(1))->block);
  EXPECT_EQ(blocks.allocate(), std::nullopt);
}

TEST(BlockManager, KeepsABeginningOnceAndOnlyBehindAKnownOne) {
  BlockManager blocks(3);
  const BlockId a = *blocks.allocate(), b = *blocks.allocate(), c = *blocks.allocate();
  const auto first = blocks.keep(key(1), a);
  EXPECT_EQ(blocks.keep(key(1), b), first);
  EXPECT_FALSE(blocks.is_kept(b));
  EXPECT_EQ(blocks.find(key(1))->block, a);
  blocks.forget_prefixes();
  EXPECT_EQ(blocks.keep(key(2, *first), c), std::nullopt);
  EXPECT_NE(blocks.keep(key(1), b), first) << "an id is never used twice";
  blocks.release(b);
  blocks.forget_prefixes();
  EXPECT_EQ(blocks.allocate(), b);
}

TEST(BlockManager, AnEmptyPoolIsUnused) { EXPECT_EQ(BlockManager(0).usage(), 0.0); }

}  // namespace
}  // namespace commissure
